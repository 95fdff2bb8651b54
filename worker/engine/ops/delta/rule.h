// The gated delta rule over chunks (Yang et al. 2024, "Gated Delta Networks"; transformers'
// torch_chunk_gated_delta_rule), forward and backward. In each document and head a state S [Hk,
// Hv], zero at first, goes from token to token:
//   S_t = e^g_t · (S_{t-1} − β_t k_t (k_tᵀ S_{t-1})) + β_t k_t v_tᵀ,   o_t = S_tᵀ q_t
//
// Legend: n chunks of C tokens, K key heads, r value heads to each of them, Hk and Hv their
// dimensions. All in float32 and contiguous.
#pragma once

#include <ATen/core/Tensor.h>

#include "worker/engine/ops/delta/chunks.h"

namespace ftd::engine {

// What the rule reads, or the gradients of that.
struct DeltaInput {
  at::Tensor q, k;     // [n, K, 1, C, Hk]
  at::Tensor v;        // [n, K, r, C, Hv]
  at::Tensor g, beta;  // [n, K, r, C]: the logarithm of the decay, ≤ 0, and the strength of writing
};

// Returns o [n, K, r, C, Hv]; and, unless `ends` is null, S after each document [documents, K·r,
// Hk, Hv], in the order of Chunks::ranks.
at::Tensor DeltaRuleForward(const DeltaInput& x, const Chunks& chunks, at::Tensor* ends = nullptr);

// Returns the gradients of x from that of o. What lies between is computed again.
DeltaInput DeltaRuleBackward(const DeltaInput& x, const Chunks& chunks, const at::Tensor& d_o);

}  // namespace ftd::engine
