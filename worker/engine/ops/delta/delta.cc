#include "worker/engine/ops/delta/delta.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/sigmoid_backward.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/silu_backward.h>
#include <ATen/ops/softplus.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "worker/engine/ops/delta/conv.h"
#include "worker/engine/ops/delta/parts.h"
#include "worker/engine/ops/delta/rule.h"

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
using delta::Steps;

// Returns queries, keys and values after their convolution.
Heads Convolved(const Parts& parts, const DeltaWeights& weights, const DeltaContext& context) {
  return HeadsOf(
      ConvForward(parts.channels, weights.conv.value, context.chunks.positions, context.activation),
      context.shape);
}

// Heads [first, first + count) of keys, and the value heads that share them.
struct Block {
  int64_t first, count;
};

template <typename Visit>
void ForEachBlock(const DeltaContext& context, const Visit& visit) {
  const int64_t heads = context.shape.key_heads;
  const int64_t most = KeyHeadsAtATime(context.shape, context.chunks.total);
  for (int64_t first = 0; first < heads; first += most)
    visit(Block{first, std::min(most, heads - first)});
}

// Returns a block's heads of x [T, heads, ..], of which `sharers` belong to each key head.
at::Tensor OfBlock(const at::Tensor& x, const Block& block, int64_t sharers) {
  return x.narrow(1, block.first * sharers, block.count * sharers);
}

// Returns x [T, count·sharers, ..] in chunks [n, count, sharers, C, ..].
at::Tensor Chunked(const at::Tensor& x, int64_t count, const Chunks& chunks) {
  at::Tensor y = ToChunks(x, chunks).unflatten(0, {chunks.total, kChunkTokens});
  y = y.unflatten(2, {count, y.size(2) / count});
  return (y.dim() == 5 ? y.permute({0, 2, 3, 1, 4}) : y.permute({0, 2, 3, 1})).contiguous();
}

// Goes the other way.
at::Tensor Unchunked(const at::Tensor& y, const Chunks& chunks) {
  const at::Tensor x =
      (y.dim() == 5 ? y.permute({0, 3, 1, 2, 4}) : y.permute({0, 3, 1, 2})).flatten(2, 3);
  return FromChunks(x.flatten(0, 1), chunks);
}

// The block as the rule reads it, and what scales its queries and keys to their length.
struct RuleBlock {
  DeltaInput input;
  at::Tensor q_scale, k_scale;  // [n, K, 1, C, 1]
};

RuleBlock MakeRuleBlock(const Heads& heads, const Gates& gates, const Block& block,
                        const DeltaContext& context) {
  const int64_t sharers = context.shape.value_heads / context.shape.key_heads;
  const auto chunked = [&](const at::Tensor& x, int64_t of_key) {
    return Chunked(OfBlock(x, block, of_key), block.count, context.chunks);
  };
  RuleBlock made{{chunked(heads.q, 1), chunked(heads.k, 1), chunked(heads.v, sharers),
                  chunked(gates.g, sharers), chunked(gates.beta, sharers)},
                 {},
                 {}};
  made.q_scale = InverseLength(made.input.q);
  made.k_scale = InverseLength(made.input.k);
  made.input.q.mul_(made.q_scale).mul_(1 / std::sqrt(static_cast<double>(context.shape.key_dim)));
  made.input.k.mul_(made.k_scale);
  return made;
}

// Returns the gradient of x from d, that of u = x · scale: scale ∘ (d − u (uᵀ d)).
at::Tensor LengthBackward(const at::Tensor& u, const at::Tensor& scale, const at::Tensor& d) {
  return (d - u * (u * d).sum({-1}, /*keepdim=*/true)).mul_(scale);
}

// Returns o [T, N, Hv] of the convolution's output; and S after each document, unless `ends` is
// null, as DeltaRuleForward does.
at::Tensor Ruled(const Heads& heads, const Gates& gates, const DeltaContext& context,
                 at::Tensor* ends) {
  const int64_t sharers = context.shape.value_heads / context.shape.key_heads;
  at::Tensor out = at::empty(heads.v.sizes(), heads.v.options());
  std::vector<at::Tensor> all_ends;
  ForEachBlock(context, [&](const Block& block) {
    const RuleBlock made = MakeRuleBlock(heads, gates, block, context);
    at::Tensor block_ends;
    OfBlock(out, block, sharers)
        .copy_(Unchunked(
            DeltaRuleForward(made.input, context.chunks, ends == nullptr ? nullptr : &block_ends),
            context.chunks));
    if (ends != nullptr) all_ends.push_back(block_ends);
  });
  if (ends != nullptr) *ends = at::cat(all_ends, 1);
  return out;
}

// Writes the gradients of the heads and gates, from d_o [T, N, Hv].
void RuledBackward(const Heads& heads, const Gates& gates, const DeltaContext& context,
                   const at::Tensor& d_o, const Heads& d_heads, const Gates& d_gates) {
  const DeltaShape& s = context.shape;
  const int64_t sharers = s.value_heads / s.key_heads;
  const double scale = 1 / std::sqrt(static_cast<double>(s.key_dim));
  ForEachBlock(context, [&](const Block& block) {
    RuleBlock made = MakeRuleBlock(heads, gates, block, context);
    const at::Tensor d_block = Chunked(OfBlock(d_o, block, sharers), block.count, context.chunks);
    DeltaInput d = DeltaRuleBackward(made.input, context.chunks, d_block);
    d.q = LengthBackward(made.input.q.div_(scale), made.q_scale, d.q.mul_(scale));
    d.k = LengthBackward(made.input.k, made.k_scale, d.k);
    const auto write = [&](const at::Tensor& target, int64_t of_key, const at::Tensor& grad) {
      OfBlock(target, block, of_key).copy_(Unchunked(grad, context.chunks));
    };
    write(d_heads.q, 1, d.q);
    write(d_heads.k, 1, d.k);
    write(d_heads.v, sharers, d.v);
    write(d_gates.g, sharers, d.g);
    write(d_gates.beta, sharers, d.beta);
  });
}

NormWeight NormOf(const DeltaWeights& weights) { return {weights.norm.value}; }

void Accumulate(Parameter& parameter, const at::Tensor& grad) {
  if (parameter.trainable()) parameter.FreshGrad().add_(grad);
}

//   dg → da = dg ∘ −e^A ∘ σ(a + dt),   d dt = Σ_t da,   dA = Σ_t dg ∘ g
void GatesBackward(const Parts& parts, const Gates& gates, const Gates& d_gates,
                   DeltaWeights& weights, const Parts& d_parts) {
  const at::Tensor rate = weights.decay.value.to(at::kFloat).exp().neg_();
  const at::Tensor da = at::sigmoid(Steps(parts.a, weights)).mul_(rate).mul_(d_gates.g);
  Accumulate(weights.step_bias, da.sum(0));
  Accumulate(weights.decay, (d_gates.g * gates.g).sum(0));
  d_parts.a.copy_(da);
  d_parts.b.copy_(at::sigmoid_backward(d_gates.beta, gates.beta));
}

// Takes dy past the gate, in x's dtype: to that of the norm's output, which it returns, and of z.
at::Tensor OutputGateBackward(const at::Tensor& normed, const at::Tensor& z, const at::Tensor& dy,
                              const at::Tensor& dz) {
  const at::Tensor wide_z = z.to(at::kFloat).reshape(normed.sizes());
  const at::Tensor wide_dy = dy.to(at::kFloat).view(normed.sizes());
  dz.copy_(at::silu_backward(wide_dy * normed, wide_z).view(dz.sizes()));
  return at::silu(wide_z).mul_(wide_dy).to(normed.scalar_type());
}

}  // namespace

at::Tensor DeltaForward(const at::Tensor& projected, const DeltaWeights& weights,
                        const DeltaContext& context, DeltaSaved* saved, at::Tensor* ends) {
  const Parts parts = Split(projected, context.shape);
  saved->out = Ruled(Convolved(parts, weights, context), GatesOf(parts, weights), context, ends)
                   .view({-1, context.shape.value_dim});
  return Gated(RmsNormForward(saved->out, NormOf(weights), context.eps, &saved->norm), parts.z);
}

at::Tensor DeltaOutput(const at::Tensor& projected, const DeltaWeights& weights,
                       const DeltaContext& context, const DeltaSaved& saved) {
  return Gated(RmsNormRecompute(saved.out, NormOf(weights), saved.norm),
               Split(projected, context.shape).z);
}

at::Tensor DeltaBackward(const at::Tensor& projected, DeltaWeights& weights,
                         const DeltaContext& context, const DeltaSaved& saved,
                         const at::Tensor& dy) {
  const DeltaShape& s = context.shape;
  at::Tensor d_projected = at::empty_like(projected);
  const Parts parts = Split(projected, s), d_parts = Split(d_projected, s);
  at::Tensor d_o = OutputGateBackward(RmsNormRecompute(saved.out, NormOf(weights), saved.norm),
                                      parts.z, dy, d_parts.z);
  d_o = RmsNormBackward(saved.out, NormOf(weights), saved.norm, d_o, /*residual=*/{},
                        weights.norm.trainable() ? weights.norm.FreshGrad() : at::Tensor());
  const at::Tensor channels =
      ConvForward(parts.channels, weights.conv.value, context.chunks.positions, context.activation);
  const Gates gates = GatesOf(parts, weights);
  const at::Tensor d_channels = at::empty_like(channels);
  const Gates d_gates{at::empty_like(gates.g), at::empty_like(gates.beta)};
  RuledBackward(HeadsOf(channels, s), gates, context, d_o.view({-1, s.value_heads, s.value_dim}),
                HeadsOf(d_channels, s), d_gates);
  GatesBackward(parts, gates, d_gates, weights, d_parts);
  d_parts.channels.copy_(
      ConvBackward(parts.channels, weights.conv.value, context.chunks.positions, context.activation,
                   d_channels, weights.conv.trainable() ? weights.conv.FreshGrad() : at::Tensor()));
  return d_projected;
}

}  // namespace ftd::engine
