#include "worker/engine/ops/glu/glu_kernel.h"

#include "worker/engine/device/elements.h"

namespace ftd::engine::cuda {
namespace {

constexpr int kThreads = 256;

// act(g) = g · σ(s(g)), and d · act'(g) for a gradient d, as in glu_cpu.cc. For GELU that loses no
// digits where 1 + tanh would cancel.
struct SiluGate {
  static __device__ float Argument(float g) { return g; }
  static __device__ float Slope(float /*g*/) { return 1; }
};

struct GeluGate {
  static constexpr float kTwice = 1.5957691216F;  // 2 · √(2/π)
  static constexpr float kCubic = 0.044715F;
  static __device__ float Argument(float g) { return kTwice * (g + kCubic * g * g * g); }
  static __device__ float Slope(float g) { return kTwice * (1 + 3 * kCubic * g * g); }
};

template <typename Gate>
__device__ float Activated(float g) {
  return g / (1 + expf(-Gate::Argument(g)));
}

template <typename Gate>
__device__ float ActivatedBackward(float d, float g) {
  const float sigmoid = 1 / (1 + expf(-Gate::Argument(g)));
  return d * sigmoid * (1 + g * (1 - sigmoid) * Gate::Slope(g));
}

// f(a value of the activation's type).
template <typename F>
const char* WithGate(Activation activation, F f) {
  return activation == Activation::kSilu ? f(SiluGate()) : f(GeluGate());
}

// Each thread makes N elements of a, or both halves of d_gate_up for them. Rows of gate_up are
// twice as wide as a's: the gate of element i lies at i + row · width, and its up `width` further
// on. N divides `width`, so the N elements lie in one row and both halves are whole vectors. Every
// element is read once and written once.
template <typename T, int N, typename Gate>
__global__ void __launch_bounds__(kThreads)
    Forward(const T* gate_up, int64_t count, int64_t width, T* a) {
  const int64_t i = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * N;
  if (i >= count) return;
  const T* gate_at = gate_up + i + i / width * width;
  const auto gate = Load<N>(gate_at), up = Load<N>(gate_at + width);
  Elements<T, N> out;
#pragma unroll
  for (int k = 0; k < N; ++k) {
    const auto g = static_cast<float>(gate.x[k]);
    out.x[k] = static_cast<T>(Rounded<T>(Activated<Gate>(g)) * static_cast<float>(up.x[k]));
  }
  Store<N>(out, a + i);
}

// Computes glu.cc's formulas, with σ and act(g) again rather than read. Rounded marks where
// ATen's operators would have stored an intermediate in T.
template <typename T, int N, typename Gate>
__global__ void __launch_bounds__(kThreads)
    Backward(const T* gate_up, const T* da, int64_t count, int64_t width, T* d_gate_up) {
  const int64_t i = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * N;
  if (i >= count) return;
  const int64_t at = i + i / width * width;
  const auto gate = Load<N>(gate_up + at), up = Load<N>(gate_up + at + width);
  const auto d = Load<N>(da + i);
  Elements<T, N> d_gate, d_up;
#pragma unroll
  for (int k = 0; k < N; ++k) {
    const auto g = static_cast<float>(gate.x[k]), dk = static_cast<float>(d.x[k]);
    const float d_act = Rounded<T>(dk * static_cast<float>(up.x[k]));
    d_up.x[k] = static_cast<T>(Rounded<T>(Activated<Gate>(g)) * dk);
    d_gate.x[k] = static_cast<T>(ActivatedBackward<Gate>(d_act, g));
  }
  Store<N>(d_gate, d_gate_up + at);
  Store<N>(d_up, d_gate_up + at + width);
}

// The launchers of glu_kernel.h.
const char* GluForward(Activation activation, const void* gate_up, Type type, int64_t rows,
                       int64_t width, void* a, Stream stream) {
  const int64_t count = rows * width;
  if (count == 0) return nullptr;
  return WithGate(activation, [&](auto gate) {
    return WithElements(type, {gate_up, a}, {width}, [&](auto zero, auto n) {
      using T = decltype(zero);
      constexpr int N = decltype(n)::value;
      Forward<T, N, decltype(gate)><<<BlocksFor(count / N, kThreads), kThreads, 0, stream>>>(
          static_cast<const T*>(gate_up), count, width, static_cast<T*>(a));
    });
  });
}

const char* GluBackward(Activation activation, const void* gate_up, const void* da, Type type,
                        int64_t rows, int64_t width, void* d_gate_up, Stream stream) {
  const int64_t count = rows * width;
  if (count == 0) return nullptr;
  return WithGate(activation, [&](auto gate) {
    return WithElements(type, {gate_up, da, d_gate_up}, {width}, [&](auto zero, auto n) {
      using T = decltype(zero);
      constexpr int N = decltype(n)::value;
      Backward<T, N, decltype(gate)><<<BlocksFor(count / N, kThreads), kThreads, 0, stream>>>(
          static_cast<const T*>(gate_up), static_cast<const T*>(da), count, width,
          static_cast<T*>(d_gate_up));
    });
  });
}

}  // namespace

const GluKernels kGluKernels{GluForward, GluBackward};

}  // namespace ftd::engine::cuda
