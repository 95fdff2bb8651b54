#include "worker/engine/ops/softcap/softcap_kernel.h"

#include "worker/engine/device/elements.h"

namespace ftd::engine::cuda {
namespace {

constexpr int kThreads = 256;

// Each thread takes N elements, which it reads once and writes once.
template <typename T, int N>
__global__ void __launch_bounds__(kThreads) Forward(T* z, int64_t count, float softcap) {
  const int64_t i = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * N;
  if (i >= count) return;
  auto values = Load<N>(z + i);
#pragma unroll
  for (int k = 0; k < N; ++k) {
    const float quotient = Rounded<T>(static_cast<float>(values.x[k]) / softcap);
    values.x[k] = static_cast<T>(Rounded<T>(tanhf(quotient)) * softcap);
  }
  Store<N>(values, z + i);
}

template <typename T, int N>
__global__ void __launch_bounds__(kThreads)
    Backward(T* grad, const T* capped, int64_t count, float softcap) {
  const int64_t i = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * N;
  if (i >= count) return;
  auto g = Load<N>(grad + i);
  const auto c = Load<N>(capped + i);
#pragma unroll
  for (int k = 0; k < N; ++k) {
    const float tanh = Rounded<T>(static_cast<float>(c.x[k]) / softcap);
    g.x[k] = static_cast<T>(static_cast<float>(g.x[k]) * (1 - tanh * tanh));
  }
  Store<N>(g, grad + i);
}

// The launchers of softcap_kernel.h. `count` as a stride: only whole vectors go N at a time.
const char* SoftcapForward(void* z, Type type, int64_t count, float softcap, Stream stream) {
  if (count == 0) return nullptr;
  return WithElements(type, {z}, {count}, [&](auto zero, auto n) {
    using T = decltype(zero);
    constexpr int N = decltype(n)::value;
    Forward<T, N><<<BlocksFor(count / N, kThreads), kThreads, 0, stream>>>(static_cast<T*>(z),
                                                                           count, softcap);
  });
}

const char* SoftcapBackward(void* grad, const void* capped, Type type, int64_t count, float softcap,
                            Stream stream) {
  if (count == 0) return nullptr;
  return WithElements(type, {grad, capped}, {count}, [&](auto zero, auto n) {
    using T = decltype(zero);
    constexpr int N = decltype(n)::value;
    Backward<T, N><<<BlocksFor(count / N, kThreads), kThreads, 0, stream>>>(
        static_cast<T*>(grad), static_cast<const T*>(capped), count, softcap);
  });
}

}  // namespace

const SoftcapKernels kSoftcapKernels{SoftcapForward, SoftcapBackward};

}  // namespace ftd::engine::cuda
