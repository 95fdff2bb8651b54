// The task of an attempt, as a file.
#pragma once

#include <filesystem>
#include <string>

#include "absl/status/statusor.h"
#include "ftd/v1/worker.pb.h"
#include "lib/spec/train_spec.h"

namespace ftd {

// Reads a request in proto3 JSON. Fields that this build does not know are passed over.
absl::StatusOr<v1::AttemptRequest> ReadAttemptRequest(const std::filesystem::path& path);

// The resolved spec that the request carries.
absl::StatusOr<TrainSpec> SpecOf(const v1::AttemptRequest& request);

// Returns the hash that binds a checkpoint to its spec: sha256 of the spec as the request states
// it. Fields that are not set leave no trace, so that a later release with more of them takes the
// checkpoints of this one.
absl::StatusOr<std::string> SpecHash(const v1::AttemptRequest& request);

}  // namespace ftd
