// What a request that is not the message it should be is answered with.
#pragma once

#include <grpcpp/support/server_interceptor.h>

#include <memory>
#include <string>

#include "absl/status/status.h"

namespace ftd {

// What such a request of `method` ("/ftd.v1.FineTuning/GetJob") ends with.
absl::Status MalformedRequest(const std::string& method);

// Has such a request end with INVALID_ARGUMENT FIELD_INVALID. gRPC by itself answers UNIMPLEMENTED,
// as if the call did not exist. Strings that are not UTF-8 make a request malformed as well.
std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MalformedRequests();

}  // namespace ftd
