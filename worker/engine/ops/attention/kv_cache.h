// The keys and values that a running sequence keeps of an attention layer, and the attention of its
// next token to them.
//
// Keys are stored rotated, so their order is of no account: a layer with a window of W keeps the
// last W tokens in a ring, token p at place p mod W.
//
// Legend: B sequences, N heads, K kv heads, H head dim, C capacity.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "worker/engine/ops/attention/attention.h"

namespace ftd::engine {

struct KvCache {
  at::Tensor keys, values;  // [K, C, H]; undefined before the first token
  int64_t tokens = 0;       // stored so far, those that a window has left behind included

  // The tokens that are still there, at places from 0 on.
  int64_t Held(int64_t window) const;
};

// Stores the keys and values of rows [begin, end) of rotated qkv [T, (N+2K)·H].
void StoreKeysAndValues(const at::Tensor& qkv, int64_t begin, int64_t end,
                        const AttentionShape& shape, KvCache* cache);

// Stores row b of rotated qkv [B, (N+2K)·H], the next token of sequence b, in its cache. Returns
// out [B, N·H]: the attention of each token to what its cache then holds. On the CPU each number is
// summed in an order that depends on its own sequence alone.
at::Tensor CachedAttention(const at::Tensor& qkv, const AttentionShape& shape,
                           const std::vector<KvCache*>& caches);

}  // namespace ftd::engine
