// The gated delta rule of running sequences, one more token of each.
//
// Legend: B sequences, N value heads, Hk and Hv the dimensions, P projected features.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "worker/engine/ops/delta/delta.h"

namespace ftd::engine {

// What a running sequence keeps of a layer, which does not grow with its length.
struct DeltaCache {
  at::Tensor state;  // S [N, Hk, Hv] float32
  at::Tensor tail;  // [taps − 1, channels]: the convolution's last inputs, zeros before the first
};

// Stores what rows [begin, end) of projected [T, P], a document from its first token on, leave of
// the convolution, and a copy of the state after them.
void StoreDelta(const at::Tensor& projected, int64_t begin, int64_t end,
                const DeltaWeights& weights, const DeltaShape& shape, const at::Tensor& state,
                DeltaCache* cache);

// Returns y [B, N·Hv] of projected [B, P], the next token of each sequence; moves their caches on.
at::Tensor DeltaStep(const at::Tensor& projected, const DeltaWeights& weights,
                     const DeltaContext& context, const std::vector<DeltaCache*>& caches);

}  // namespace ftd::engine
