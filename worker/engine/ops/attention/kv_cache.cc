#include "worker/engine/ops/attention/kv_cache.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/_softmax.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>

#include <algorithm>

#include "lib/base/ceil_div.h"
#include "worker/engine/ops/attention/kv_cache_cpu.h"
#include "worker/engine/ops/softcap/softcap.h"

namespace ftd::engine {
namespace {

constexpr int64_t kBlock = 256;  // tokens that a cache grows by

// Makes room for `tokens` in all; a window bounds it.
void Reserve(KvCache* cache, int64_t tokens, const AttentionShape& shape,
             const at::TensorOptions& options) {
  const int64_t places = shape.window > 0 ? std::min(tokens, shape.window) : tokens;
  const int64_t have = cache->keys.defined() ? cache->keys.size(1) : 0;
  if (places <= have) return;
  int64_t capacity = CeilDiv(places, kBlock) * kBlock;
  if (shape.window > 0) capacity = std::min(capacity, shape.window);
  for (at::Tensor* of : {&cache->keys, &cache->values}) {
    const at::Tensor grown = at::empty({shape.kv_heads, capacity, shape.head_dim}, options);
    if (have > 0) grown.narrow(1, 0, have).copy_(*of);
    *of = grown;
  }
}

// Returns rows [begin, begin + count) of qkv's keys or values as [K, count, H]; a view.
at::Tensor KeyValueHeads(const at::Tensor& qkv, int64_t begin, int64_t count, int64_t first_head,
                         const AttentionShape& s) {
  return qkv.narrow(0, begin, count)
      .narrow(1, first_head * s.head_dim, s.kv_heads * s.head_dim)
      .unflatten(1, {s.kv_heads, s.head_dim})
      .transpose(0, 1);
}

// The query heads that read one key head follow one another, so they are rows of one product.
at::Tensor AttentionOfOne(const at::Tensor& query, const KvCache& cache, const AttentionShape& s) {
  const int64_t held = cache.Held(s.window);
  const at::Tensor keys = cache.keys.narrow(1, 0, held), values = cache.values.narrow(1, 0, held);
  at::Tensor scores = at::bmm(query.view({s.kv_heads, -1, s.head_dim}), keys.transpose(1, 2));
  scores.mul_(s.scale);
  if (s.softcap > 0) SoftcapForward(scores, s.softcap);
  const at::Tensor p = at::_softmax(scores.to(at::kFloat), -1, /*half_to_float=*/false);
  return at::bmm(p.to(values.scalar_type()), values).flatten();
}

}  // namespace

int64_t KvCache::Held(int64_t window) const {
  return window > 0 ? std::min(tokens, window) : tokens;
}

void StoreKeysAndValues(const at::Tensor& qkv, int64_t begin, int64_t end,
                        const AttentionShape& shape, KvCache* cache) {
  const int64_t all = cache->tokens + (end - begin);
  Reserve(cache, all, shape, qkv.options());
  // Of more tokens than a window holds, the last. In stretches up to the ring's end.
  int64_t token = shape.window > 0 ? std::max(cache->tokens, all - shape.window) : cache->tokens;
  while (token < all) {
    const int64_t place = shape.window > 0 ? token % shape.window : token;
    const int64_t count = std::min(all - token, cache->keys.size(1) - place);
    const int64_t row = begin + token - cache->tokens;
    cache->keys.narrow(1, place, count).copy_(KeyValueHeads(qkv, row, count, shape.heads, shape));
    cache->values.narrow(1, place, count)
        .copy_(KeyValueHeads(qkv, row, count, shape.heads + shape.kv_heads, shape));
    token += count;
  }
  cache->tokens = all;
}

at::Tensor CachedAttention(const at::Tensor& qkv, const AttentionShape& shape,
                           const std::vector<KvCache*>& caches) {
  for (KvCache* cache : caches) Reserve(cache, cache->tokens + 1, shape, qkv.options());
  if (cpu::TakenByCachedAttention(qkv)) return cpu::CachedAttention(qkv, shape, caches);
  const int64_t queries = shape.heads * shape.head_dim;
  at::Tensor out = at::empty({qkv.size(0), queries}, qkv.options());
  for (size_t b = 0; b < caches.size(); ++b) {
    const auto row = static_cast<int64_t>(b);
    StoreKeysAndValues(qkv, row, row + 1, shape, caches[b]);
    out.select(0, row).copy_(
        AttentionOfOne(qkv.select(0, row).narrow(0, 0, queries), *caches[b], shape));
  }
  return out;
}

}  // namespace ftd::engine
