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
  at::Tensor exponents =
      at::arange(0, config.head_dim, 2, options) / static_cast<double>(config.head_dim);
  at::Tensor frequencies = at::pow(config.rope.theta, exponents).reciprocal_();
  if (config.rope.type == RopeConfig::Type::kDefault) return frequencies;
  const RopeConfig& rope = config.rope;
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
  const at::Tensor angles =
      at::outer(positions.to(at::kFloat), frequencies.to(positions.device())).unsqueeze(1);
  return {angles.cos().to(dtype), angles.sin().to(dtype)};
}

void ApplyRope(at::Tensor heads, const RopeTable& table, bool backward) {
  if (cpu::Serves(heads)) return cpu::ApplyRope(heads, table.cos, table.sin, backward);
  if (cuda::Serves(heads.device())) return cuda::ApplyRope(heads, table.cos, table.sin, backward);
  const int64_t half = heads.size(-1) / 2;
  at::Tensor first = heads.narrow(-1, 0, half), second = heads.narrow(-1, half, half);
  const at::Tensor sin = backward ? table.sin.neg() : table.sin;
  const at::Tensor rotated = first * table.cos - second * sin;
  second.mul_(table.cos).add_(first * sin);
  first.copy_(rotated);
}

}  // namespace ftd::engine
