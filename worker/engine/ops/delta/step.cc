#include "worker/engine/ops/delta/step.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "worker/engine/ops/delta/conv.h"
#include "worker/engine/ops/delta/parts.h"

namespace ftd::engine {
namespace {

using delta::Gated;
using delta::Gates;
using delta::GatesOf;
using delta::Heads;
using delta::HeadsOf;
using delta::InverseLength;
using delta::Parts;
using delta::Split;

// Returns the convolution's output for the token whose channels are x [1, C], after the tail; moves
// the tail on. The convolution of the few tokens together is the batch's own.
at::Tensor ConvolvedNext(const at::Tensor& x, const DeltaWeights& weights, Activation activation,
                         DeltaCache* cache) {
  const at::Tensor window = at::cat({cache->tail, x});
  const int64_t taps = window.size(0);
  // A position for each that reaches back to the first: what lies before a document is zero there.
  const at::Tensor positions = at::zeros({taps}, x.options().dtype(at::kLong)).add_(taps);
  const at::Tensor y = ConvForward(window, weights.conv.value, positions, activation);
  cache->tail = window.narrow(0, 1, taps - 1).clone();
  return y.narrow(0, taps - 1, 1);
}

// Returns x [K, H] as [N, H]: each key head once for each value head that shares it.
at::Tensor ForSharers(const at::Tensor& x, const DeltaShape& s) {
  const int64_t sharers = s.value_heads / s.key_heads;
  return x.unsqueeze(1).expand({-1, sharers, -1}).reshape({s.value_heads, s.key_dim});
}

// Returns o [N, Hv]; moves the state on:
//   S ← e^g S;   S ← S + k (β (v − Sᵀ k))ᵀ;   o = Sᵀ q
at::Tensor RuleNext(const Heads& heads, const Gates& gates, const DeltaShape& s,
                    DeltaCache* cache) {
  at::Tensor q = heads.q[0].to(at::kFloat), k = heads.k[0].to(at::kFloat);
  q = ForSharers(q * InverseLength(q) * (1 / std::sqrt(static_cast<double>(s.key_dim))), s);
  k = ForSharers(k * InverseLength(k), s);
  at::Tensor& S = cache->state;
  S.mul_(gates.g[0].exp().view({-1, 1, 1}));
  const at::Tensor known = (S * k.unsqueeze(-1)).sum(1);
  const at::Tensor written =
      (heads.v[0].to(at::kFloat) - known).mul_(gates.beta[0].to(at::kFloat).unsqueeze(-1));
  S.addcmul_(k.unsqueeze(-1), written.unsqueeze(1));
  return (S * q.unsqueeze(-1)).sum(1);
}

}  // namespace

void StoreDelta(const at::Tensor& projected, int64_t begin, int64_t end,
                const DeltaWeights& weights, const DeltaShape& shape, const at::Tensor& state,
                DeltaCache* cache) {
  const int64_t tail = weights.conv.value.size(2) - 1;
  const int64_t held = std::min(tail, end - begin);
  cache->state = state.clone();
  cache->tail = at::zeros({tail, shape.channels()}, projected.options());
  cache->tail.narrow(0, tail - held, held)
      .copy_(Split(projected, shape).channels.narrow(0, end - held, held));
}

at::Tensor DeltaStep(const at::Tensor& projected, const DeltaWeights& weights,
                     const DeltaContext& context, const std::vector<DeltaCache*>& caches) {
  const DeltaShape& s = context.shape;
  const Parts parts = Split(projected, s);
  const at::Tensor out =
      at::empty({projected.size(0), s.value_heads, s.value_dim}, projected.options());
  for (size_t b = 0; b < caches.size(); ++b) {
    const auto row = static_cast<int64_t>(b);
    const at::Tensor channels =
        ConvolvedNext(parts.channels.narrow(0, row, 1), weights, context.activation, caches[b]);
    const Gates gates =
        GatesOf({{}, {}, parts.b.narrow(0, row, 1), parts.a.narrow(0, row, 1)}, weights);
    out.select(0, row).copy_(RuleNext(HeadsOf(channels, s), gates, s, caches[b]));
  }
  NormSaved norm;
  return Gated(
      RmsNormForward(out.view({-1, s.value_dim}), {weights.norm.value}, context.eps, &norm),
      parts.z);
}

}  // namespace ftd::engine
