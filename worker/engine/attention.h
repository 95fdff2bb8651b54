// Causal self-attention over a flat batch of documents: no document sees another, no padding
// exists.
//
// Legend: T tokens of the whole batch, t tokens of one document, N heads, K kv heads, H head dim.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace ftd::engine {

// Kept for the backward pass.
struct AttentionSaved {
  at::Tensor out;               // [T, N·H]
  std::vector<at::Tensor> lse;  // per document, on the CPU's fused path
};

struct AttentionShape {
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
};

// out [T, N·H] of qkv [T, (N+2K)·H], rotated already. `offsets` has documents + 1 entries, from 0
// to T.
at::Tensor AttentionForward(const at::Tensor& qkv, const std::vector<int64_t>& offsets,
                            const AttentionShape& shape, AttentionSaved* saved);

// d(qkv) [T, (N+2K)·H] of dout [T, N·H].
at::Tensor AttentionBackward(const at::Tensor& qkv, const std::vector<int64_t>& offsets,
                             const AttentionShape& shape, const AttentionSaved& saved,
                             const at::Tensor& dout);

}  // namespace ftd::engine
