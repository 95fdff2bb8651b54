#include "worker/engine/ops/rope/rope_kernel.h"

#include "worker/engine/device/elements.h"

namespace ftd::engine::cuda {
namespace {

constexpr int kThreads = 256;

// Turns each pair (x, y) into (x·c − y·s, y·c + x·s). The products are rounded to T before they are
// added, as ATen's operators would leave them.
template <typename T, int N>
__device__ void RotatePairs(const Elements<T, N>& c, const Elements<T, N>& s, float sign,
                            Elements<T, N>* first, Elements<T, N>* second) {
#pragma unroll
  for (int k = 0; k < N; ++k) {
    const auto x = static_cast<float>(first->x[k]), y = static_cast<float>(second->x[k]);
    const float ck = static_cast<float>(c.x[k]), sk = sign * static_cast<float>(s.x[k]);
    first->x[k] = static_cast<T>(Rounded<T>(x * ck) - Rounded<T>(y * sk));
    second->x[k] = static_cast<T>(Rounded<T>(y * ck) + Rounded<T>(x * sk));
  }
}

// Each thread rotates N pairs of one head, which it reads and writes once. N divides `half`
// (WithElements is given it as a stride), so no thread's pairs reach into the next head, and N
// pairs are two whole vectors: one in either half of the head.
template <typename T, int N>
__global__ void __launch_bounds__(kThreads)
    Rotate(RopeHeads heads, const T* cos, const T* sin, float sign, int64_t pairs) {
  const int64_t i = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * N;
  if (i >= pairs) return;
  const int64_t head = i / heads.half, pair = i % heads.half;  // of all heads; within it
  const int64_t row = head / heads.heads;
  T* first_at = static_cast<T*>(heads.data) + row * heads.row_stride +
                head % heads.heads * heads.head_stride + pair;
  T* second_at = first_at + heads.half;
  auto first = Load<N>(first_at), second = Load<N>(second_at);
  const auto c = Load<N>(cos + row * heads.half + pair), s = Load<N>(sin + row * heads.half + pair);
  RotatePairs<T, N>(c, s, sign, &first, &second);
  Store<N>(first, first_at);
  Store<N>(second, second_at);
}

// Each thread moves N pairs of one head, queries first, then keys, then values. Every gradient is
// read once and dqkv written once; three copies and a rotation in place would move queries and keys
// twice. Values are not rotated.
template <typename T, int N>
__global__ void __launch_bounds__(kThreads)
    Gather(QkvGradient g, const T* cos, const T* sin, int64_t pairs, T* dqkv) {
  const int64_t i = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * N;
  if (i >= pairs) return;
  const int64_t all_heads = g.heads + 2 * g.kv_heads;
  const int64_t row = i / g.half / all_heads, head = i / g.half % all_heads, pair = i % g.half;
  const bool query = head < g.heads, value = head >= g.heads + g.kv_heads;
  const int64_t key = head - g.heads - (value ? g.kv_heads : 0);  // or value
  // The head's first element in the tensor that holds it: dq has N heads a row, dk and dv K each.
  const T* from =
      query ? static_cast<const T*>(g.dq) + (row * g.heads + head) * 2 * g.half
            : static_cast<const T*>(value ? g.dv : g.dk) + (row * g.kv_heads + key) * 2 * g.half;
  T* to = dqkv + (row * all_heads + head) * 2 * g.half + pair;
  auto first = Load<N>(from + pair), second = Load<N>(from + pair + g.half);
  if (!value) {
    RotatePairs<T, N>(Load<N>(cos + row * g.half + pair), Load<N>(sin + row * g.half + pair), -1.0F,
                      &first, &second);
  }
  Store<N>(first, to);
  Store<N>(second, to + g.half);
}

// The launchers of rope_kernel.h.
const char* ApplyRope(const RopeHeads& heads, Type type, const void* cos, const void* sin,
                      bool backward, Stream stream) {
  const int64_t pairs = heads.rows * heads.heads * heads.half;
  if (pairs == 0) return nullptr;
  return WithElements(type, {heads.data, cos, sin},
                      {heads.row_stride, heads.head_stride, heads.half}, [&](auto zero, auto n) {
                        using T = decltype(zero);
                        constexpr int N = decltype(n)::value;
                        Rotate<T, N><<<BlocksFor(pairs / N, kThreads), kThreads, 0, stream>>>(
                            heads, static_cast<const T*>(cos), static_cast<const T*>(sin),
                            backward ? -1.0F : 1.0F, pairs);
                      });
}

const char* RotateBack(const QkvGradient& g, Type type, const void* cos, const void* sin,
                       void* dqkv, Stream stream) {
  const int64_t pairs = g.rows * (g.heads + 2 * g.kv_heads) * g.half;
  if (pairs == 0) return nullptr;
  return WithElements(type, {g.dq, g.dk, g.dv, cos, sin, dqkv}, {g.half}, [&](auto zero, auto n) {
    using T = decltype(zero);
    constexpr int N = decltype(n)::value;
    Gather<T, N><<<BlocksFor(pairs / N, kThreads), kThreads, 0, stream>>>(
        g, static_cast<const T*>(cos), static_cast<const T*>(sin), pairs, static_cast<T*>(dqkv));
  });
}

}  // namespace

const RopeKernels kRopeKernels{ApplyRope, RotateBack};

}  // namespace ftd::engine::cuda
