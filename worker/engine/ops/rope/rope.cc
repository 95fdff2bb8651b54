#include "worker/engine/ops/rope/rope.h"
#include "worker/engine/device/cpu_rows.h"
#include "worker/engine/device/kernel_call.h"
#include "worker/engine/ops/rope/rope_cpu.h"
#include "worker/engine/ops/rope/rope_cuda.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/pow.h>

#include <cmath>

namespace ftd::engine {

at::Tensor RopeFrequencies(const ModelConfig& config) {
  const auto options = at::TensorOptions(at::kFloat);
  // f_i = θ^(−2i/H) for i < H/2, as transformers computes it: the power in float32, then its
  // reciprocal. A different order would change the last digits, and positions multiply the error.
  at::Tensor exponents =
      at::arange(0, config.head_dim, 2, options) / static_cast<double>(config.head_dim);
  at::Tensor frequencies = at::pow(config.rope.theta, exponents).reciprocal_();
  if (config.rope.type == RopeConfig::Type::kDefault) return frequencies;
  const RopeConfig& rope = config.rope;
  // Llama 3.1 stretches long wavelengths λ = 2π/f beyond the context L that the model was trained
  // on first, and leaves short ones alone (transformers _compute_llama3_parameters):
  //   λ > L/low                f / factor
  //   λ < L/high               f
  //   between   (1 − s) · f / factor + s · f,   s = (L/λ − low) / (high − low)
  const double low_wavelength = rope.original_max_position_embeddings / rope.low_freq_factor;
  const double high_wavelength = rope.original_max_position_embeddings / rope.high_freq_factor;
  float* f = frequencies.data_ptr<float>();
  for (int64_t i = 0; i < frequencies.numel(); ++i) {
    const float wavelength = static_cast<float>(2 * M_PI) / f[i];
    if (wavelength > low_wavelength) {
      f[i] /= static_cast<float>(rope.factor);
    } else if (wavelength >= high_wavelength) {
      const auto smooth = static_cast<float>(
          (rope.original_max_position_embeddings / wavelength - rope.low_freq_factor) /
          (rope.high_freq_factor - rope.low_freq_factor));
      f[i] = (1 - smooth) * f[i] / static_cast<float>(rope.factor) + smooth * f[i];
    }
  }
  return frequencies;
}

RopeTable MakeRopeTable(const at::Tensor& frequencies, const at::Tensor& positions,
                        at::ScalarType dtype) {
  // Angles [T, 1, H/2] in float32: bfloat16 has no exact number for most positions above 256. cos
  // and sin are rounded to the compute dtype as in LlamaRotaryEmbedding.forward, which holds each
  // of them twice, once per half of a head.
  const at::Tensor angles =
      at::outer(positions.to(at::kFloat), frequencies.to(positions.device())).unsqueeze(1);
  return {angles.cos().to(dtype), angles.sin().to(dtype)};
}

// With a head's halves a and b, c = cos and s = sin:
//   a' = a ∘ c − b ∘ s,   b' = b ∘ c + a ∘ s
// That is transformers' q · cos + rotate_half(q) · sin; in 16-bit types each product and each sum
// is rounded, as there. The rotation is orthogonal, so its gradient is the rotation by −angle.
void ApplyRope(at::Tensor heads, const RopeTable& table, bool backward) {
  if (cpu::Serves(heads)) return cpu::ApplyRope(heads, table.cos, table.sin, backward);
  if (cuda::Serves(heads.device())) return cuda::ApplyRope(heads, table.cos, table.sin, backward);
  const int64_t half = heads.size(-1) / 2;
  at::Tensor first = heads.narrow(-1, 0, half), second = heads.narrow(-1, half, half);
  const at::Tensor sin = backward ? table.sin.neg() : table.sin;
  // The second half needs the old first half, so that is overwritten last.
  const at::Tensor rotated = first * table.cos - second * sin;
  second.mul_(table.cos).add_(first * sin);
  first.copy_(rotated);
}

}  // namespace ftd::engine
