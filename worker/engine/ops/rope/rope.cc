#include "worker/engine/ops/rope/rope.h"
#include "worker/engine/device/cpu_rows.h"
#include "worker/engine/device/kernel_call.h"
#include "worker/engine/ops/rope/rope_cpu.h"
#include "worker/engine/ops/rope/rope_cuda.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace ftd::engine {
namespace {

using Type = RopeConfig::Type;

// Returns 2i/R for i < R/2, in float32.
at::Tensor Exponents(int64_t R) {
  return at::arange(0, R, 2, at::TensorOptions(at::kFloat)) / static_cast<double>(R);
}

// Returns θ^(2i/R) for i < R/2, as transformers computes it: in float32. A different order would
// change the last digits, and positions multiply the error.
at::Tensor Powers(double theta, int64_t R) { return at::pow(theta, Exponents(R)); }

// Llama 3.1 stretches long wavelengths λ = 2π/f beyond the context L that the model was trained
// on first, and leaves short ones alone (transformers _compute_llama3_parameters):
//   λ > L/low                f / factor
//   λ < L/high               f
//   between   (1 − s) · f / factor + s · f,   s = (L/λ − low) / (high − low)
at::Tensor Llama3(const RopeConfig& rope) {
  const at::Tensor f = Powers(rope.theta, rope.rotary_dim).reciprocal_();
  const double L = rope.original_max_position_embeddings;
  const double low = rope.low_freq_factor, high = rope.high_freq_factor;
  const at::Tensor wavelength = f.reciprocal().mul_(2 * M_PI);
  const at::Tensor scaled = at::where(wavelength > L / low, f / rope.factor, f);
  const at::Tensor smooth = wavelength.reciprocal().mul_(L).sub_(low).div_(high - low);
  const at::Tensor between = (1 - smooth) * scaled / rope.factor + smooth * scaled;
  const at::Tensor is_between = (wavelength >= L / high).logical_and_(wavelength <= L / low);
  return at::where(is_between, between, scaled);
}

// NTK scaling: beyond the model's positions P, a document of n tokens has
//   θ' = θ · (factor · n / P − (factor − 1))^(R / (R − 2)).
// transformers computes that in float32, and keeps the θ' of the longest batch so far until a batch
// shorter than P comes; here it is each micro-batch's own, so that a resumed run equals an
// uninterrupted one.
at::Tensor Dynamic(const RopeConfig& rope, int64_t longest) {
  const double P = rope.max_position_embeddings;
  if (static_cast<double>(longest) <= P) return Powers(rope.theta, rope.rotary_dim).reciprocal_();
  const auto R = static_cast<double>(rope.rotary_dim);
  const at::Tensor n = at::scalar_tensor(longest, at::kLong);
  const at::Tensor theta =
      n.mul(rope.factor).div_(P).sub_(rope.factor - 1).pow_(R / (R - 2)).mul_(rope.theta);
  return at::pow(theta, Exponents(rope.rotary_dim)).reciprocal_();
}

// YaRN (Peng et al. 2023) divides low frequencies by the factor and leaves high ones, with a ramp
// between the features that turn beta_slow and beta_fast times in the original context L:
//   feature(turns) = R · ln(L / (2π · turns)) / (2 · ln θ)
at::Tensor Yarn(const RopeConfig& rope) {
  const auto R = static_cast<double>(rope.rotary_dim);
  const auto feature = [&](double turns) {
    return R * std::log(rope.original_max_position_embeddings / (turns * 2 * M_PI)) /
           (2 * std::log(rope.theta));
  };
  double low = feature(rope.beta_fast), high = feature(rope.beta_slow);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, R - 1);
  if (low == high) high += 0.001;
  const at::Tensor powers = Powers(rope.theta, rope.rotary_dim);
  const at::Tensor ramp =
      (at::arange(rope.rotary_dim / 2, at::TensorOptions(at::kFloat)) - low).div_(high - low);
  const at::Tensor kept = 1 - ramp.clamp_(0, 1);
  return (powers * rope.factor).reciprocal_() * (1 - kept) + powers.reciprocal() * kept;
}

// LongRoPE (Ding et al. 2024): a divisor for each frequency, of the second set where a document
// goes beyond the original context.
at::Tensor Longrope(const RopeConfig& rope, int64_t longest) {
  const bool beyond = static_cast<double>(longest) > rope.original_max_position_embeddings;
  const at::Tensor divisors =
      at::tensor(beyond ? rope.long_factor : rope.short_factor, at::TensorOptions(at::kFloat));
  return divisors.mul(Powers(rope.theta, rope.rotary_dim)).reciprocal_();
}

}  // namespace

at::Tensor RopeFrequencies(const RopeConfig& rope, int64_t longest) {
  switch (rope.type) {
    case Type::kDefault:
      break;
    case Type::kLinear:
      return Powers(rope.theta, rope.rotary_dim).reciprocal_().div_(rope.factor);
    case Type::kDynamic:
      return Dynamic(rope, longest);
    case Type::kLlama3:
      return Llama3(rope);
    case Type::kYarn:
      return Yarn(rope);
    case Type::kLongrope:
      return Longrope(rope, longest);
  }
  return Powers(rope.theta, rope.rotary_dim).reciprocal_();
}

BatchFrequencies::BatchFrequencies(const RopeConfig& rope, c10::Device device)
    : rope_(rope), within_(RopeFrequencies(rope, /*longest=*/0).to(device)) {
  if (rope.type == Type::kLongrope)
    beyond_ = RopeFrequencies(rope, std::numeric_limits<int64_t>::max()).to(device);
}

at::Tensor BatchFrequencies::For(int64_t longest) const {
  const auto tokens = static_cast<double>(longest);
  if (rope_.type == Type::kDynamic && tokens > rope_.max_position_embeddings)
    return RopeFrequencies(rope_, longest).to(within_.device());
  const bool beyond = beyond_.defined() && tokens > rope_.original_max_position_embeddings;
  return beyond ? beyond_ : within_;
}

RopeTable MakeRopeTable(const at::Tensor& frequencies, const at::Tensor& positions,
                        at::ScalarType dtype, double factor) {
  // Angles [T, 1, R/2] in float32: bfloat16 has no exact number for most positions above 256. cos
  // and sin are rounded to the compute dtype as in LlamaRotaryEmbedding.forward, which holds each
  // of them twice, once per half of a head.
  const at::Tensor angles = at::outer(positions.to(at::kFloat), frequencies).unsqueeze(1);
  at::Tensor cos = angles.cos(), sin = angles.sin();
  if (factor != 1) {
    cos.mul_(factor);
    sin.mul_(factor);
  }
  return {cos.to(dtype), sin.to(dtype)};
}

// With a pair's features a and b, c = cos and s = sin:
//   a' = a ∘ c − b ∘ s,   b' = b ∘ c + a ∘ s
// That is transformers' q · cos + rotate_half(q) · sin; in 16-bit types each product and each sum
// is rounded, as there, unless the table is float32. The rotation is orthogonal but for its factor,
// so its gradient is the rotation by −angle.
void ApplyRope(at::Tensor heads, const RopeTable& table, bool backward) {
  if (cpu::Serves(heads)) return cpu::ApplyRope(heads, table, backward);
  if (cuda::Serves(heads.device())) return cuda::ApplyRope(heads, table, backward);
  const int64_t half = table.cos.size(-1);
  const at::Tensor rotating = heads.narrow(-1, 0, 2 * half);
  at::Tensor first =
      table.interleaved ? rotating.slice(-1, 0, 2 * half, 2) : rotating.narrow(-1, 0, half);
  at::Tensor second =
      table.interleaved ? rotating.slice(-1, 1, 2 * half, 2) : rotating.narrow(-1, half, half);
  const at::Tensor sin = backward ? table.sin.neg() : table.sin;
  // The second half needs the old first half, so that is overwritten last.
  const at::Tensor rotated = first * table.cos - second * sin;
  second.copy_(second * table.cos + first * sin);
  first.copy_(rotated);
}

}  // namespace ftd::engine
