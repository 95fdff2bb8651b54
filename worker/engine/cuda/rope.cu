#include "worker/engine/cuda/rope.h"

#include "worker/engine/cuda/elements.h"

namespace ftd::engine::cuda {
namespace {

constexpr int kThreads = 256;

// Each thread rotates N pairs of one head.
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
#pragma unroll
  for (int k = 0; k < N; ++k) {
    const auto x = static_cast<float>(first.x[k]), y = static_cast<float>(second.x[k]);
    const float ck = static_cast<float>(c.x[k]), sk = sign * static_cast<float>(s.x[k]);
    first.x[k] = static_cast<T>(Rounded<T>(x * ck) - Rounded<T>(y * sk));
    second.x[k] = static_cast<T>(Rounded<T>(y * ck) + Rounded<T>(x * sk));
  }
  Store<N>(first, first_at);
  Store<N>(second, second_at);
}

}  // namespace

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

}  // namespace ftd::engine::cuda
