#include "worker/engine/ops/dropout/dropout_kernel.h"

#include "worker/engine/device/elements.h"

namespace ftd::engine::cuda {
namespace {

constexpr int kThreads = 256;

// The factors of elements i to i + N − 1; N is 1 or a whole number of groups that begins with one.
// With N of 4 or 8 each group is drawn once; with N = 1, for misaligned tensors, four threads draw
// the same group and keep one number each.
template <int N>
struct Factors {
  float x[N];

  __device__ Factors(const DropoutMask& mask, int64_t i) {
    if constexpr (N == 1) {
      x[0] = FactorsOf(mask, i / kDropoutGroup).x[i % kDropoutGroup];
    } else {
      static_assert(N % kDropoutGroup == 0, "whole groups");
#pragma unroll
      for (int k = 0; k < N; k += kDropoutGroup) {
        const DropoutFactors group = FactorsOf(mask, (i + k) / kDropoutGroup);
#pragma unroll
        for (int j = 0; j < kDropoutGroup; ++j) x[k + j] = group.x[j];
      }
    }
  }
};

// Each thread reads N elements, computes their factors in registers and writes N elements. No mask
// is read, so the kernel moves no more bytes than a copy.
template <typename T, int N>
__global__ void __launch_bounds__(kThreads)
    Drop(const T* x, int64_t count, DropoutMask mask, T* y) {
  const int64_t i = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * N;
  if (i >= count) return;
  auto elements = Load<N>(x + i);
  const Factors<N> factors(mask, i);
#pragma unroll
  for (int k = 0; k < N; ++k)
    elements.x[k] = static_cast<T>(static_cast<float>(elements.x[k]) * factors.x[k]);
  Store<N>(elements, y + i);
}

// The same onto `sum`, with `dropped` rounded to T as if Drop had stored it.
template <typename T, int N>
__global__ void __launch_bounds__(kThreads)
    Add(T* sum, const T* x, int64_t count, DropoutMask mask) {
  const int64_t i = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * N;
  if (i >= count) return;
  auto sums = Load<N>(sum + i);
  const auto elements = Load<N>(x + i);
  const Factors<N> factors(mask, i);
#pragma unroll
  for (int k = 0; k < N; ++k) {
    const float dropped = Rounded<T>(static_cast<float>(elements.x[k]) * factors.x[k]);
    sums.x[k] = static_cast<T>(static_cast<float>(sums.x[k]) + dropped);
  }
  Store<N>(sums, sum + i);
}

// The launchers of dropout_kernel.h.
const char* Dropped(const void* x, Type type, int64_t count, const DropoutMask& mask, void* y,
                    Stream stream) {
  if (count == 0) return nullptr;
  // `count` in place of a stride: no thread has a partial vector at the end.
  return WithElements(type, {x, y}, {count}, [&](auto zero, auto n) {
    using T = decltype(zero);
    constexpr int N = decltype(n)::value;
    Drop<T, N><<<BlocksFor(count / N, kThreads), kThreads, 0, stream>>>(
        static_cast<const T*>(x), count, mask, static_cast<T*>(y));
  });
}

const char* AddDropped(void* sum, const void* x, Type type, int64_t count, const DropoutMask& mask,
                       Stream stream) {
  if (count == 0) return nullptr;
  return WithElements(type, {sum, x}, {count}, [&](auto zero, auto n) {
    using T = decltype(zero);
    constexpr int N = decltype(n)::value;
    Add<T, N><<<BlocksFor(count / N, kThreads), kThreads, 0, stream>>>(
        static_cast<T*>(sum), static_cast<const T*>(x), count, mask);
  });
}

}  // namespace

const DropoutKernels kDropoutKernels{Dropped, AddDropped};

}  // namespace ftd::engine::cuda
