#include "worker/engine/ops/attention/gate.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/sigmoid_backward.h>

namespace ftd::engine {
namespace {

// Returns the queries and gates of a projected tensor as [T, N, 2, H]; a view.
at::Tensor QueriesAndGates(const at::Tensor& projected, const AttentionShape& s) {
  return projected.narrow(1, 0, 2 * s.heads * s.head_dim).view({-1, s.heads, 2, s.head_dim});
}

// Returns x [T, N·H] as [T, N, H].
at::Tensor ByHead(const at::Tensor& x, const AttentionShape& s) {
  return x.view({-1, s.heads, s.head_dim});
}

}  // namespace

QkvAndGate SplitGate(const at::Tensor& projected, const AttentionShape& s) {
  const int64_t T = projected.size(0), queries = s.heads * s.head_dim,
                others = 2 * s.kv_heads * s.head_dim;
  QkvAndGate parts{at::empty({T, queries + others}, projected.options()),
                   at::empty({T, queries}, projected.options())};
  const at::Tensor both = QueriesAndGates(projected, s);
  parts.qkv.narrow(1, 0, queries).unflatten(1, {s.heads, s.head_dim}).copy_(both.select(2, 0));
  parts.qkv.narrow(1, queries, others).copy_(projected.narrow(1, 2 * queries, others));
  ByHead(parts.gate, s).copy_(both.select(2, 1));
  return parts;
}

at::Tensor SplitGateBackward(const QkvAndGate& grads, const AttentionShape& s) {
  const int64_t T = grads.qkv.size(0), queries = s.heads * s.head_dim,
                others = 2 * s.kv_heads * s.head_dim;
  at::Tensor d_projected = at::empty({T, 2 * queries + others}, grads.qkv.options());
  const at::Tensor both = QueriesAndGates(d_projected, s);
  both.select(2, 0).copy_(grads.qkv.narrow(1, 0, queries).unflatten(1, {s.heads, s.head_dim}));
  both.select(2, 1).copy_(ByHead(grads.gate, s));
  d_projected.narrow(1, 2 * queries, others).copy_(grads.qkv.narrow(1, queries, others));
  return d_projected;
}

at::Tensor GateForward(const at::Tensor& out, const at::Tensor& gate) {
  return at::sigmoid(gate).mul_(out);
}

// d out = dy ∘ σ,   d gate = dy ∘ out ∘ σ ∘ (1 − σ); dy ∘ out is rounded to the dtype first.
at::Tensor GateBackward(const at::Tensor& out, const at::Tensor& gate, const at::Tensor& dy,
                        at::Tensor* d_gate) {
  at::Tensor sigma = at::sigmoid(gate);
  *d_gate = at::sigmoid_backward(dy * out, sigma);
  return sigma.mul_(dy);
}

}  // namespace ftd::engine
