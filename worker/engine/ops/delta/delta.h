// Linear attention by the gated delta rule, between the projections of a layer (transformers'
// Qwen3_5GatedDeltaNet): convolution of queries, keys and values; their rule (rule.h) with
//   g = −e^A ∘ softplus(a + dt),   β = σ(b),   q and k of length 1, q / √Hk
// and, of each head's output, RMSNorm times silu of a gate:
//   y = norm(o) ∘ silu(z)
// The projected input has, for each token, the channels of the convolution, then z, b and a.
//
// Legend: T tokens, K key heads, N value heads, Hk and Hv their dimensions, P projected features.
#pragma once

#include <ATen/core/Tensor.h>

#include "lib/model/traits.h"
#include "worker/engine/ops/delta/chunks.h"
#include "worker/engine/ops/norm/norm.h"
#include "worker/engine/tensors/parameter.h"

namespace ftd::engine {

// The parameters beside the projections. Undefined in a layer without the rule.
struct DeltaWeights {
  Parameter conv;       // [channels, 1, taps]
  Parameter decay;      // A [N]
  Parameter step_bias;  // dt [N]
  Parameter norm;       // [Hv]
};

// What all layers share.
struct DeltaContext {
  DeltaShape shape;
  Chunks chunks;
  double eps = 0;                             // of the norm
  Activation activation = Activation::kSilu;  // of the convolution
};

// Kept from forward to backward, beside the projected input.
struct DeltaSaved {
  at::Tensor out;  // o [T·N, Hv]
  NormSaved norm;
};

// Returns y [T, N·Hv] of projected [T, P]; and the state after each document, unless `ends` is
// null, as DeltaRuleForward does (rule.h).
at::Tensor DeltaForward(const at::Tensor& projected, const DeltaWeights& weights,
                        const DeltaContext& context, DeltaSaved* saved, at::Tensor* ends = nullptr);

// Returns the same y again, from what was kept.
at::Tensor DeltaOutput(const at::Tensor& projected, const DeltaWeights& weights,
                       const DeltaContext& context, const DeltaSaved& saved);

// Returns the gradient [T, P] of projected from that of y; adds to those of the weights that train.
at::Tensor DeltaBackward(const at::Tensor& projected, DeltaWeights& weights,
                         const DeltaContext& context, const DeltaSaved& saved,
                         const at::Tensor& dy);

}  // namespace ftd::engine
