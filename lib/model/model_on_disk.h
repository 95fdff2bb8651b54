// A model's config.json and weights, read together.
#pragma once

#include <filesystem>

#include "absl/status/statusor.h"
#include "lib/model/model_config.h"
#include "lib/model/safetensors.h"

namespace ftd {

struct ModelOnDisk {
  ModelConfig config;
  ModelWeights weights;
};

// Opens a model's folder. Where config.json ties the head to the embedding and the weights have
// both, with other values, the head is its own, as in transformers 5; where they have the head
// alone, it is the embedding as well. Errors: ReadModelConfig's and ModelWeights::Open's.
absl::StatusOr<ModelOnDisk> OpenModel(const std::filesystem::path& model_dir);

}  // namespace ftd
