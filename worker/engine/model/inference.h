// A model as it generates, after its training or amid it: the base, with an adapter that is not
// merged into it.
#pragma once

#include <filesystem>
#include <vector>

#include "lib/spec/train_spec.h"
#include "worker/engine/model/model.h"

namespace ftd::engine {

// Loads a model onto the device, and the adapter unless `adapter_dir` is empty. With `nf4`, or
// where the repository is quantised already, the projections are in NF4.
Model LoadForInference(const std::filesystem::path& model_dir,
                       const std::filesystem::path& adapter_dir, Dtype dtype, bool nf4,
                       c10::Device device);

// A model that generates, and where it is.
struct GeneratorModel {
  Model model;
  c10::Device device;
};

// Returns a model that shares all tensors of one that is being trained, and so takes no memory:
// what an optimizer step makes of those tensors, which it does in place, holds for both.
Model SharedForInference(const Model& trained);

// Throws EngineError kModel unless each id is of the vocabulary. Before the device sees them: on a
// GPU an index out of range ends all use of the device.
void CheckIds(const std::vector<int32_t>& ids, int64_t vocab_size);

}  // namespace ftd::engine
