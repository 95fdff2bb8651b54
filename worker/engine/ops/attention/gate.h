// The output gate of attention (transformers' Qwen3_5Attention): out ∘ σ(gate), with a gate for
// each of a head's features, which the query's projection has after each query.
//
// Legend: T tokens, N heads, K kv heads, H head dim.
#pragma once

#include <ATen/core/Tensor.h>

#include "worker/engine/ops/attention/attention.h"

namespace ftd::engine {

struct QkvAndGate {
  at::Tensor qkv;   // [T, (N+2K)·H]
  at::Tensor gate;  // [T, N·H]
};

// Returns copies of the parts of projected [T, 2·(N+K)·H], in which each query head is followed by
// its gate, and keys and values follow.
QkvAndGate SplitGate(const at::Tensor& projected, const AttentionShape& shape);

// Returns the gradient of projected from those of its parts.
at::Tensor SplitGateBackward(const QkvAndGate& grads, const AttentionShape& shape);

// Returns out ∘ σ(gate) [T, N·H].
at::Tensor GateForward(const at::Tensor& out, const at::Tensor& gate);

// Returns the gradient of `out`, and writes the gate's to `d_gate`.
at::Tensor GateBackward(const at::Tensor& out, const at::Tensor& gate, const at::Tensor& dy,
                        at::Tensor* d_gate);

}  // namespace ftd::engine
