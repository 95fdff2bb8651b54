// grpc::Status to absl::Status, with the details of AIP-193.
#pragma once

#include <chrono>
#include <optional>

#include "absl/status/status.h"
#include "grpcpp/support/status.h"

namespace ftd {

// Code and message, ErrorInfo's reason as ReasonNameOf (lib/base/error.h), and those of
// BadRequest's fields that the message does not name. Details that do not parse are ignored: the
// code is what counts.
absl::Status StatusFromRpc(const grpc::Status& status);

// RetryInfo's delay, if there is one.
std::optional<std::chrono::milliseconds> RetryDelay(const grpc::Status& status);

}  // namespace ftd
