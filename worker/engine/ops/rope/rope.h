// Rotary position embedding (Su et al. 2021) in Hugging Face's layout: the two halves of a head
// rotate against each other. Angles in float32; cos and sin rounded to the compute dtype
// (transformers modeling_llama.py).
#pragma once

#include <ATen/core/Tensor.h>

#include "lib/model/model_config.h"

namespace ftd::engine {

// cos and sin for one batch, [T, 1, H/2].
struct RopeTable {
  at::Tensor cos, sin;
};

// Returns the frequencies [H/2], float32 on the CPU: theta^(-2i/H), scaled for llama3 (transformers
// modeling_rope_utils.py).
at::Tensor RopeFrequencies(const ModelConfig& config);

// Returns the table for `positions` [T] (int64).
RopeTable MakeRopeTable(const at::Tensor& frequencies, const at::Tensor& positions,
                        at::ScalarType dtype);

// Rotates heads [T, heads, H] in place (a strided view is fine); `backward` rotates the other way,
// which is the gradient's direction.
void ApplyRope(at::Tensor heads, const RopeTable& table, bool backward);

}  // namespace ftd::engine
