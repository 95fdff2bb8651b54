// CachedAttention on the CPU, in one pass over each sequence's keys and values.
#pragma once

#include "worker/engine/ops/attention/kv_cache.h"

namespace ftd::engine::cpu {

// Returns whether qkv is what this is for: float32 or bfloat16 on the CPU.
bool TakenByCachedAttention(const at::Tensor& qkv);

// As the function above it; the caches have room for one token more.
at::Tensor CachedAttention(const at::Tensor& qkv, const AttentionShape& shape,
                           const std::vector<KvCache*>& caches);

}  // namespace ftd::engine::cpu
