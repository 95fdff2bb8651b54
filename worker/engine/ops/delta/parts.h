// What the gated delta rule of a whole batch (delta.cc) and of one more token (step.cc) share: the
// parts of the projected input, and what is computed of each token by itself.
//
// Legend: T tokens, K key heads, N value heads, Hk and Hv their dimensions.
#pragma once

#include <ATen/core/Tensor.h>

#include "worker/engine/ops/delta/delta.h"

namespace ftd::engine::delta {

// The parts of the projected input, or of its gradient; views.
struct Parts {
  at::Tensor channels, z, b, a;
};

Parts Split(const at::Tensor& projected, const DeltaShape& s);

// A tensor of the convolution's channels as heads of queries, keys [T, K, Hk] and values [T, N,
// Hv]; views.
struct Heads {
  at::Tensor q, k, v;
};

Heads HeadsOf(const at::Tensor& channels, const DeltaShape& s);

// Decay and strength of writing of each token and head [T, N]: g in float32, β in the dtype.
struct Gates {
  at::Tensor g, beta;
};

// Returns softplus's argument a + dt, float32.
at::Tensor Steps(const at::Tensor& a, const DeltaWeights& weights);

Gates GatesOf(const Parts& parts, const DeltaWeights& weights);

// Returns 1 / √(Σ x² + eps) over a head's features, float32.
at::Tensor InverseLength(const at::Tensor& x);

// Returns norm ∘ silu(z), rounded once [T, N·Hv].
at::Tensor Gated(const at::Tensor& normed, const at::Tensor& z);

}  // namespace ftd::engine::delta
