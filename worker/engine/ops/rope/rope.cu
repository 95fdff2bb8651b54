#include "worker/engine/ops/rope/rope_kernel.h"

#include "worker/engine/device/elements.h"

namespace ftd::engine::cuda {
namespace {

constexpr int kThreads = 256;

// Where N pairs of a head lie: two vectors of N elements, `half` apart, or one after the other.
struct Place {
  int64_t first, second;

  template <int N>
  static __device__ Place Of(int64_t pair, int64_t half, bool apart) {
    return apart ? Place{pair, pair + half} : Place{2 * pair, 2 * pair + N};
  }
};

// Returns N entries of a table as float32.
template <int N, typename T, typename C>
__device__ void LoadAngles(const C* from, float* to) {
  if constexpr (sizeof(C) == sizeof(T)) {
    const auto entries = Load<N>(from);
#pragma unroll
    for (int k = 0; k < N; ++k) to[k] = static_cast<float>(entries.x[k]);
  } else {
#pragma unroll
    for (int k = 0; k < N; ++k) to[k] = static_cast<float>(from[k]);
  }
}

// Turns N pairs (x, y) into (x·c − y·s, y·c + x·s), of two vectors or, interleaved, of both as one.
// The products are rounded to the table's type C before they are added, as ATen's operators would
// leave them.
template <typename T, typename C, int N>
__device__ void RotatePairs(const C* cos, const C* sin, float sign, bool interleaved,
                            Elements<T, N>* first, Elements<T, N>* second) {
  float c[N], s[N];
  LoadAngles<N, T>(cos, c);
  LoadAngles<N, T>(sin, s);
  T entries[2 * N];
#pragma unroll
  for (int k = 0; k < N; ++k) {
    entries[k] = first->x[k];
    entries[N + k] = second->x[k];
  }
#pragma unroll
  for (int k = 0; k < N; ++k) {
    T& a = entries[interleaved ? 2 * k : k];
    T& b = entries[interleaved ? 2 * k + 1 : N + k];
    const auto x = static_cast<float>(a), y = static_cast<float>(b);
    const float sk = sign * s[k];
    a = static_cast<T>(Rounded<C>(x * c[k]) - Rounded<C>(y * sk));
    b = static_cast<T>(Rounded<C>(y * c[k]) + Rounded<C>(x * sk));
  }
#pragma unroll
  for (int k = 0; k < N; ++k) {
    first->x[k] = entries[k];
    second->x[k] = entries[N + k];
  }
}

// Each thread rotates N pairs of one head, which it reads and writes once. N divides `half`
// (WithElements is given it as a stride), so no thread's pairs reach into the next head, and N
// pairs are two whole vectors.
template <typename T, typename C, int N>
__global__ void __launch_bounds__(kThreads)
    Rotate(RopeHeads heads, const C* cos, const C* sin, int64_t half, bool interleaved, float sign,
           int64_t pairs) {
  const int64_t i = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * N;
  if (i >= pairs) return;
  const int64_t head = i / half, pair = i % half;  // of all heads; within it
  const int64_t row = head / heads.heads;
  T* at =
      static_cast<T*>(heads.data) + row * heads.row_stride + head % heads.heads * heads.head_stride;
  const Place place = Place::Of<N>(pair, half, !interleaved);
  auto first = Load<N>(at + place.first), second = Load<N>(at + place.second);
  RotatePairs<T, C, N>(cos + row * half + pair, sin + row * half + pair, sign, interleaved, &first,
                       &second);
  Store<N>(first, at + place.first);
  Store<N>(second, at + place.second);
}

// Each thread moves N pairs of one head, queries first, then keys, then values. Every gradient is
// read once and dqkv written once; three copies and a rotation in place would move queries and keys
// twice. Values are not rotated, nor the features beyond the table.
template <typename T, typename C, int N>
__global__ void __launch_bounds__(kThreads)
    Gather(QkvGradient g, const C* cos, const C* sin, int64_t half, bool interleaved, int64_t pairs,
           T* dqkv) {
  const int64_t i = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * N;
  if (i >= pairs) return;
  const int64_t all_heads = g.heads + 2 * g.kv_heads, pairs_of_head = g.head_dim / 2;
  const int64_t row = i / pairs_of_head / all_heads, head = i / pairs_of_head % all_heads;
  const int64_t pair = i % pairs_of_head;
  const bool query = head < g.heads, value = head >= g.heads + g.kv_heads;
  const int64_t key = head - g.heads - (value ? g.kv_heads : 0);  // or value
  // The head's first element in the tensor that holds it: dq has N heads a row, dk and dv K each.
  const T* from =
      query ? static_cast<const T*>(g.dq) + (row * g.heads + head) * g.head_dim
            : static_cast<const T*>(value ? g.dv : g.dk) + (row * g.kv_heads + key) * g.head_dim;
  T* to = dqkv + (row * all_heads + head) * g.head_dim;
  // Pair by pair, the features that do not rotate come behind those that do.
  const bool rotates = pair < half;
  const Place place = Place::Of<N>(pair, half, rotates && !interleaved);
  auto first = Load<N>(from + place.first), second = Load<N>(from + place.second);
  if (rotates && !value) {
    RotatePairs<T, C, N>(cos + row * half + pair, sin + row * half + pair, -1.0F, interleaved,
                         &first, &second);
  }
  Store<N>(first, to + place.first);
  Store<N>(second, to + place.second);
}

// f(a value of the C++ type of the elements, one of the table's, how many elements at once).
template <typename F>
const char* WithTable(Type type, const RopeAngles& angles,
                      std::initializer_list<const void*> pointers,
                      std::initializer_list<int64_t> strides, F f) {
  return WithElements(type, pointers, strides, [&](auto zero, auto n) {
    if (angles.type == type) {
      f(zero, zero, n);
    } else {
      f(zero, float(), n);
    }
  });
}

// The launchers of rope_kernel.h.
const char* ApplyRope(const RopeHeads& heads, Type type, const RopeAngles& angles, bool backward,
                      Stream stream) {
  const int64_t pairs = heads.rows * heads.heads * angles.half;
  if (pairs == 0) return nullptr;
  return WithTable(
      type, angles, {heads.data, angles.cos, angles.sin},
      {heads.row_stride, heads.head_stride, angles.half}, [&](auto zero, auto entry, auto n) {
        using T = decltype(zero);
        using C = decltype(entry);
        constexpr int N = decltype(n)::value;
        Rotate<T, C, N><<<BlocksFor(pairs / N, kThreads), kThreads, 0, stream>>>(
            heads, static_cast<const C*>(angles.cos), static_cast<const C*>(angles.sin),
            angles.half, angles.interleaved, backward ? -1.0F : 1.0F, pairs);
      });
}

const char* RotateBack(const QkvGradient& g, Type type, const RopeAngles& angles, void* dqkv,
                       Stream stream) {
  const int64_t pairs = g.rows * (g.heads + 2 * g.kv_heads) * (g.head_dim / 2);
  if (pairs == 0) return nullptr;
  return WithTable(type, angles, {g.dq, g.dk, g.dv, angles.cos, angles.sin, dqkv},
                   {angles.half, g.head_dim / 2}, [&](auto zero, auto entry, auto n) {
                     using T = decltype(zero);
                     using C = decltype(entry);
                     constexpr int N = decltype(n)::value;
                     Gather<T, C, N><<<BlocksFor(pairs / N, kThreads), kThreads, 0, stream>>>(
                         g, static_cast<const C*>(angles.cos), static_cast<const C*>(angles.sin),
                         angles.half, angles.interleaved, pairs, static_cast<T*>(dqkv));
                   });
}

}  // namespace

const RopeKernels kRopeKernels{ApplyRope, RotateBack};

}  // namespace ftd::engine::cuda
