// The one function that turns a status into gRPC's.
#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace ftd {

// Code and message as they are; google.rpc.ErrorInfo (domain "ftd") with the reason, BadRequest for
// a field error, RetryInfo of a second for UNAVAILABLE. A status without a reason gets its code's
// name as one.
grpc::Status ToGrpc(const absl::Status& status);

}  // namespace ftd
