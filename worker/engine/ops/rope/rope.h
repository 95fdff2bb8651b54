// Rotary position embedding (Su et al. 2021) in Hugging Face's layouts. Of a head of H features the
// first R rotate: feature i against i + R/2, or interleaved 2i against 2i + 1. Angles in float32;
// cos and sin rounded to the compute dtype (transformers modeling_llama.py), or not (OLMo 2).
#pragma once

#include <ATen/core/Tensor.h>

#include "lib/model/rope_config.h"

namespace ftd::engine {

// cos and sin for one batch, and how they apply.
struct RopeTable {
  at::Tensor cos, sin;  // [T, 1, R/2] of the compute dtype, or float32: then products stay float32
  bool interleaved = false;
};

// Returns the frequencies [R/2], float32 on the CPU: theta^(-2i/R), scaled as the type says
// (transformers modeling_rope_utils.py). Of the dynamic types they depend on the longest document,
// in tokens.
at::Tensor RopeFrequencies(const RopeConfig& rope, int64_t longest);

// The same on a device, ready for batches of any length: only the dynamic type makes them again.
class BatchFrequencies {
 public:
  BatchFrequencies() = default;
  BatchFrequencies(const RopeConfig& rope, c10::Device device);

  // Returns those for a batch whose longest document has so many tokens.
  at::Tensor For(int64_t longest) const;

 private:
  RopeConfig rope_;
  at::Tensor within_;  // the context that the model was trained on first
  at::Tensor beyond_;  // longrope
};

// Returns the table for `positions` [T] (int64), with cos and sin times `factor`.
RopeTable MakeRopeTable(const at::Tensor& frequencies, const at::Tensor& positions,
                        at::ScalarType dtype, double factor = 1);

// Rotates heads [T, heads, H] in place (a strided view is fine); `backward` rotates the other way,
// which is the gradient's direction. cos and sin that are times a factor f make the rotation one
// times f, and so its gradient's.
void ApplyRope(at::Tensor heads, const RopeTable& table, bool backward);

}  // namespace ftd::engine
