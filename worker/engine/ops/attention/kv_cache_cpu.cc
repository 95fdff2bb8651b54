#include "worker/engine/ops/attention/kv_cache_cpu.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>

#include "worker/engine/device/cpu_rows.h"
#include "worker/engine/device/dot_products.h"
#include "worker/engine/device/multiversion.h"

namespace ftd::engine::cpu {
namespace {

// One key head of one sequence, with the r queries that read it.
template <typename Element>
struct Head {
  const Element *queries, *keys, *values;  // [r, H], [held, H], [held, H]
  Element* out;                            // [r, H]
  int64_t sharers, held, H;                // sharers: r
  float scale, softcap;
};

// Turns scores into e^(score − largest) and returns the sum of these. Sixteen sums, as in
// norm_cpu.cc.
[[gnu::always_inline]] inline float Exponentials(float* scores, int64_t count, float softcap) {
  if (softcap > 0)
    for (int64_t t = 0; t < count; ++t) scores[t] = softcap * std::tanh(scores[t] / softcap);
  const float largest = *std::max_element(scores, scores + count);
  for (int64_t t = 0; t < count; ++t) scores[t] = Exp(scores[t] - largest);
  float sums[kLanes] = {}, total = 0;
  int64_t t = 0;
  for (; t + kLanes <= count; t += kLanes)
    for (int64_t lane = 0; lane < kLanes; ++lane) sums[lane] += scores[t + lane];
  for (; t < count; ++t) total += scores[t];
  for (const float sum : sums) total += sum;
  return total;
}

// out = softmax(cap(scale · q kᵀ)) v. `work` has room for r · (H + held) + H numbers.
template <typename Element>
[[gnu::always_inline]] inline void Attend(const Head<Element>& x, float* work) {
  float *queries = work, *scores = queries + x.sharers * x.H, *sums = scores + x.sharers * x.held;
  for (int64_t i = 0; i < x.sharers * x.H; ++i)
    queries[i] = static_cast<float>(x.queries[i]) * x.scale;
  DotProducts(x.keys, queries, scores, x.sharers, x.H, x.held, 0, x.held);
  for (int64_t r = 0; r < x.sharers; ++r) {
    float* p = scores + r * x.held;
    const float total = Exponentials(p, x.held, x.softcap);
    std::fill_n(sums, x.H, 0.0F);
    for (int64_t t = 0; t < x.held; ++t)
      for (int64_t h = 0; h < x.H; ++h) sums[h] += p[t] * static_cast<float>(x.values[t * x.H + h]);
    for (int64_t h = 0; h < x.H; ++h) x.out[r * x.H + h] = static_cast<Element>(sums[h] / total);
  }
}

// The compiler makes its versions of functions, not of templates.
FTD_MULTIVERSION void AttendTo(const Head<float>& x, float* work) { Attend(x, work); }
FTD_MULTIVERSION void AttendTo(const Head<at::BFloat16>& x, float* work) { Attend(x, work); }

// Copies the head's key and value of the token to their place in the cache.
template <typename Element>
void Store(const Element* row, int64_t head, const AttentionShape& s, const KvCache& cache) {
  const int64_t place = s.window > 0 ? cache.tokens % s.window : cache.tokens;
  const int64_t at = (head * cache.keys.size(1) + place) * s.head_dim;
  std::copy_n(row + (s.heads + head) * s.head_dim, s.head_dim,
              cache.keys.mutable_data_ptr<Element>() + at);
  std::copy_n(row + (s.heads + s.kv_heads + head) * s.head_dim, s.head_dim,
              cache.values.mutable_data_ptr<Element>() + at);
}

template <typename Element>
Head<Element> HeadOf(const Element* row, Element* out, int64_t head, const AttentionShape& s,
                     const KvCache& cache) {
  const int64_t sharers = s.heads / s.kv_heads, first = head * sharers * s.head_dim;
  const int64_t at = head * cache.keys.size(1) * s.head_dim;
  const int64_t held = s.window > 0 ? std::min(cache.tokens + 1, s.window) : cache.tokens + 1;
  return {row + first,
          cache.keys.const_data_ptr<Element>() + at,
          cache.values.const_data_ptr<Element>() + at,
          out + first,
          sharers,
          held,
          s.head_dim,
          static_cast<float>(s.scale),
          static_cast<float>(s.softcap)};
}

template <typename Element>
at::Tensor AttentionOf(const at::Tensor& qkv, const AttentionShape& s,
                       const std::vector<KvCache*>& caches) {
  const int64_t B = qkv.size(0), width = qkv.size(1), queries = s.heads * s.head_dim;
  at::Tensor out = at::empty({B, queries}, qkv.options());
  const Element* in_data = qkv.const_data_ptr<Element>();
  Element* out_data = out.mutable_data_ptr<Element>();
  int64_t longest = 0;
  for (const KvCache* cache : caches) longest = std::max(longest, cache->tokens + 1);
  // Threads take key heads, each with all that it does: nothing of one is another's.
  at::parallel_for(0, B * s.kv_heads, Grain(2 * longest * queries / s.kv_heads),
                   [&](int64_t begin, int64_t end) {
                     std::vector<float> work;
                     for (int64_t i = begin; i < end; ++i) {
                       const int64_t b = i / s.kv_heads, head = i % s.kv_heads;
                       Store(in_data + b * width, head, s, *caches[b]);
                       const auto x =
                           HeadOf(in_data + b * width, out_data + b * queries, head, s, *caches[b]);
                       work.resize(std::max<size_t>(work.size(), x.sharers * (x.H + x.held) + x.H));
                       AttendTo(x, work.data());
                     }
                   });
  for (KvCache* cache : caches) ++cache->tokens;
  return out;
}

}  // namespace

bool TakenByCachedAttention(const at::Tensor& qkv) {
  return qkv.is_cpu() && (qkv.scalar_type() == at::kFloat || qkv.scalar_type() == at::kBFloat16);
}

at::Tensor CachedAttention(const at::Tensor& qkv, const AttentionShape& shape,
                           const std::vector<KvCache*>& caches) {
  return qkv.scalar_type() == at::kFloat ? AttentionOf<float>(qkv, shape, caches)
                                         : AttentionOf<at::BFloat16>(qkv, shape, caches);
}

}  // namespace ftd::engine::cpu
