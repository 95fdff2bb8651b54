// A digest by which a model's directory that holds other weights than before is noticed.
#pragma once

#include <filesystem>
#include <string>

#include "absl/status/statusor.h"

namespace ftd {

// SHA-256, in lower-case hex, of the tensors' names, dtypes and shapes and of 16 pieces of 64 bytes
// of each: training anything moves some of them, and an 8B model is read in a fraction of a second.
// How the tensors are spread over files does not matter. Errors: ModelWeights::Open's.
absl::StatusOr<std::string> WeightsDigest(const std::filesystem::path& model_dir);

}  // namespace ftd
