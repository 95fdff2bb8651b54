// The model's logits, for checking it against others. Includes no torch. Throws EngineError.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "lib/spec/train_spec.h"

namespace ftd::engine {

// Writes the logits of given token ids: float32 tensors in a safetensors file, "logits" [T, V] for
// one sequence, "logits.0", "logits.1", … for several. `adapter_dir` may be empty; with `nf4` the
// projections are quantised as for QLORA.
void WriteLogits(const std::filesystem::path& model_dir, const std::filesystem::path& adapter_dir,
                 Dtype dtype, bool nf4, const std::vector<std::vector<int32_t>>& sequences,
                 bool single, const std::filesystem::path& output);

}  // namespace ftd::engine
