// A model as it is used after its training: the base, with an adapter that is not merged into it.
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

// Throws EngineError kModel unless each id is of the vocabulary. Before the device sees them: on a
// GPU an index out of range ends all use of the device.
void CheckIds(const std::vector<int32_t>& ids, int64_t vocab_size);

}  // namespace ftd::engine
