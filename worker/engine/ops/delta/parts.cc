#include "worker/engine/ops/delta/parts.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softplus.h>

namespace ftd::engine::delta {
namespace {

constexpr double kLengthEps = 1e-6;  // of l2norm in modeling_qwen3_5.py

}  // namespace

Parts Split(const at::Tensor& projected, const DeltaShape& s) {
  const int64_t C = s.channels(), V = s.values(), N = s.value_heads;
  return {projected.narrow(1, 0, C), projected.narrow(1, C, V), projected.narrow(1, C + V, N),
          projected.narrow(1, C + V + N, N)};
}

Heads HeadsOf(const at::Tensor& channels, const DeltaShape& s) {
  const auto part = [&](int64_t first, int64_t heads, int64_t dim) {
    return channels.narrow(1, first, heads * dim).view({-1, heads, dim});
  };
  return {part(0, s.key_heads, s.key_dim), part(s.keys(), s.key_heads, s.key_dim),
          part(2 * s.keys(), s.value_heads, s.value_dim)};
}

at::Tensor Steps(const at::Tensor& a, const DeltaWeights& weights) {
  return a.to(at::kFloat).add(weights.step_bias.value);
}

Gates GatesOf(const Parts& parts, const DeltaWeights& weights) {
  const at::Tensor rate = weights.decay.value.to(at::kFloat).exp().neg_();
  return {at::softplus(Steps(parts.a, weights)).mul_(rate), at::sigmoid(parts.b)};
}

at::Tensor InverseLength(const at::Tensor& x) {
  return x.square().sum({-1}, /*keepdim=*/true).add_(kLengthEps).rsqrt_();
}

at::Tensor Gated(const at::Tensor& normed, const at::Tensor& z) {
  return at::silu(z.to(at::kFloat)).mul_(normed.view(z.sizes())).to(normed.scalar_type());
}

}  // namespace ftd::engine::delta
