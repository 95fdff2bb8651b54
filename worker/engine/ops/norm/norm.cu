#include "worker/engine/ops/norm/norm_kernel.h"

#include "worker/engine/device/elements.h"

namespace ftd::engine::cuda {
namespace {

constexpr int kThreads = 256;

// Sums by a butterfly of five exchanges, which leaves the sum in every lane. All lanes add the same
// pairs, so all get the same bits, in every run.
__device__ float SumOverWarp(float value) {
  for (int step = kWarp / 2; step > 0; step /= 2) value += __shfl_xor_sync(0xFFFFFFFF, value, step);
  return value;
}

// Returns the sum over all threads to each of them. Every warp adds up the warps' sums by itself,
// which saves a second barrier. Call it once per kernel: its shared memory is not free afterwards.
__device__ float SumOverBlock(float value) {
  __shared__ float parts[kThreads / kWarp];
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  value = SumOverWarp(value);
  if (lane == 0) parts[warp] = value;
  __syncthreads();
  return SumOverWarp(lane < kThreads / kWarp ? parts[lane] : 0);
}

// What x̂ is multiplied by, and whether it is rounded to T first: lib/model/traits.h's NormKind.
struct Factor {
  float offset;
  bool rounds_first;

  explicit Factor(NormKind kind)
      : offset(kind == NormKind::kOffset ? 1 : 0), rounds_first(kind == NormKind::kRounded) {}

  template <typename T>
  __device__ float Of(T w) const {
    return offset + static_cast<float>(w);
  }
  template <typename T>
  __device__ float Times(float x_hat, T w) const {
    return (rounds_first ? Rounded<T>(x_hat) : x_hat) * Of(w);
  }
};

// Computes y = w · cast(x · rstd), or as `factor` says, by a whole block. Neighbouring threads take
// neighbouring vectors, so that a warp reads one stretch of memory. WithElements has checked that
// rows begin at whole vectors.
template <typename T, int N>
__device__ void Scale(const T* x, const T* w, Factor factor, int64_t width, float rstd, T* y) {
  for (int64_t i = int64_t{threadIdx.x} * N; i < width; i += kThreads * N) {
    const auto row = Load<N>(x + i), weight = Load<N>(w + i);
    Elements<T, N> out;
#pragma unroll
    for (int k = 0; k < N; ++k) {
      out.x[k] = static_cast<T>(factor.Times(static_cast<float>(row.x[k]) * rstd, weight.x[k]));
    }
    Store<N>(out, y + i);
  }
}

// A block per row: reads x twice, the second time mostly from the cache, and writes y once. sqrtf
// and the division are correctly rounded, whereas rsqrtf may be two units off.
template <typename T, int N>
__global__ void __launch_bounds__(kThreads)
    Forward(const T* x, const T* w, Factor factor, int64_t width, float eps, float* rstd, T* y) {
  x += blockIdx.x * width;
  float sum = 0;
  for (int64_t i = int64_t{threadIdx.x} * N; i < width; i += kThreads * N) {
    const auto row = Load<N>(x + i);
#pragma unroll
    for (int k = 0; k < N; ++k) sum += static_cast<float>(row.x[k]) * static_cast<float>(row.x[k]);
  }
  const float r = 1 / sqrtf(SumOverBlock(sum) / static_cast<float>(width) + eps);
  if (threadIdx.x == 0) rstd[blockIdx.x] = r;
  Scale<T, N>(x, w, factor, width, r, y + blockIdx.x * width);
}

// A block per row: reads x once and writes y once, since the sum is known.
template <typename T, int N>
__global__ void __launch_bounds__(kThreads)
    Again(const T* x, const T* w, Factor factor, int64_t width, const float* rstd, T* y) {
  Scale<T, N>(x + blockIdx.x * width, w, factor, width, rstd[blockIdx.x], y + blockIdx.x * width);
}

// A block per row: reads x, w and dy twice, `residual` once, and writes dx once. The first pass
// sums, the second needs the sum of the whole row.
template <typename T, int N>
__global__ void __launch_bounds__(kThreads)
    Backward(const T* x, const T* w, Factor factor, const float* rstd, const T* dy,
             const T* residual, int64_t width, T* dx) {
  const int64_t begin = blockIdx.x * width;
  const float r = rstd[blockIdx.x];
  // With x̂ = x·rstd and g = dy·w:  dx = rstd · (g − x̂ · mean(g·x̂)).
  float sum = 0;
  for (int64_t i = int64_t{threadIdx.x} * N; i < width; i += kThreads * N) {
    const auto row = Load<N>(x + begin + i), weight = Load<N>(w + i), d = Load<N>(dy + begin + i);
#pragma unroll
    for (int k = 0; k < N; ++k) {
      sum +=
          static_cast<float>(d.x[k]) * factor.Of(weight.x[k]) * (static_cast<float>(row.x[k]) * r);
    }
  }
  const float projection = SumOverBlock(sum) / static_cast<float>(width);
  for (int64_t i = int64_t{threadIdx.x} * N; i < width; i += kThreads * N) {
    const auto row = Load<N>(x + begin + i), weight = Load<N>(w + i), d = Load<N>(dy + begin + i);
    Elements<T, N> out;
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const float g = static_cast<float>(d.x[k]) * factor.Of(weight.x[k]);
      out.x[k] = static_cast<T>((g - static_cast<float>(row.x[k]) * r * projection) * r);
    }
    // dx has been rounded to T above, and the sum is rounded again, as ATen's addition would.
    if (residual != nullptr) {
      const auto other = Load<N>(residual + begin + i);
#pragma unroll
      for (int k = 0; k < N; ++k)
        out.x[k] = static_cast<T>(static_cast<float>(out.x[k]) + static_cast<float>(other.x[k]));
    }
    Store<N>(out, dx + begin + i);
  }
}

// Sums dy · x̂ over kWeightGradRows rows, N columns per thread, a block per stretch of rows and of
// columns. x and dy are read once; each thread adds its rows in order. The blocks' sums go to
// `partial` and not into the gradient by atomic additions, whose order would change from run to
// run.
template <typename T, int N>
__global__ void __launch_bounds__(kThreads)
    WeightGradOfRows(const T* x, const float* rstd, const T* dy, int64_t rows, int64_t width,
                     int64_t column_blocks, float* partial) {
  const int64_t stretch = blockIdx.x / column_blocks;
  const int64_t column = (blockIdx.x % column_blocks * kThreads + threadIdx.x) * N;
  if (column >= width) return;
  const int64_t begin = stretch * kWeightGradRows;
  const int64_t end = begin + kWeightGradRows < rows ? begin + kWeightGradRows : rows;
  float sums[N] = {};
  for (int64_t row = begin; row < end; ++row) {
    const auto values = Load<N>(x + row * width + column), d = Load<N>(dy + row * width + column);
    const float r = rstd[row];
#pragma unroll
    for (int k = 0; k < N; ++k)
      sums[k] += static_cast<float>(d.x[k]) * (static_cast<float>(values.x[k]) * r);
  }
#pragma unroll
  for (int k = 0; k < N; ++k) partial[stretch * width + column + k] = sums[k];
}

// Adds those sums to the gradient: a block for kWarp columns, whose warps take stretches in turn.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    AddWeightGrad(const float* partial, int64_t stretches, int64_t width, T* w_grad) {
  __shared__ float sums[kThreads / kWarp][kWarp];
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int64_t column = int64_t{blockIdx.x} * kWarp + lane;
  float sum = 0;
  if (column < width) {
    for (int64_t stretch = warp; stretch < stretches; stretch += kThreads / kWarp)
      sum += partial[stretch * width + column];
  }
  sums[warp][lane] = sum;
  __syncthreads();
  if (warp != 0 || column >= width) return;
  // The warps' sums in their order, for the same bits in every run. Each warp has added every
  // eighth stretch, in order.
  for (int other = 1; other < kThreads / kWarp; ++other) sum += sums[other][lane];
  w_grad[column] = static_cast<T>(static_cast<float>(w_grad[column]) + sum);
}

// The launchers of norm_kernel.h.
const char* RmsNormForward(const void* x, const void* w, NormKind kind, Type type, int64_t rows,
                           int64_t width, float eps, float* rstd, void* y, Stream stream) {
  if (rows == 0) return nullptr;
  return WithElements(type, {x, w, y}, {width}, [&](auto zero, auto n) {
    using T = decltype(zero);
    Forward<T, decltype(n)::value><<<static_cast<unsigned>(rows), kThreads, 0, stream>>>(
        static_cast<const T*>(x), static_cast<const T*>(w), Factor(kind), width, eps, rstd,
        static_cast<T*>(y));
  });
}

const char* RmsNormRecompute(const void* x, const void* w, NormKind kind, Type type, int64_t rows,
                             int64_t width, const float* rstd, void* y, Stream stream) {
  if (rows == 0) return nullptr;
  return WithElements(type, {x, w, y}, {width}, [&](auto zero, auto n) {
    using T = decltype(zero);
    Again<T, decltype(n)::value><<<static_cast<unsigned>(rows), kThreads, 0, stream>>>(
        static_cast<const T*>(x), static_cast<const T*>(w), Factor(kind), width, rstd,
        static_cast<T*>(y));
  });
}

const char* RmsNormBackward(const void* x, const void* w, NormKind kind, const float* rstd,
                            const void* dy, const void* residual, Type type, int64_t rows,
                            int64_t width, void* dx, Stream stream) {
  if (rows == 0) return nullptr;
  return WithElements(type, {x, w, dy, residual, dx}, {width}, [&](auto zero, auto n) {
    using T = decltype(zero);
    Backward<T, decltype(n)::value><<<static_cast<unsigned>(rows), kThreads, 0, stream>>>(
        static_cast<const T*>(x), static_cast<const T*>(w), Factor(kind), rstd,
        static_cast<const T*>(dy), static_cast<const T*>(residual), width, static_cast<T*>(dx));
  });
}

const char* AddRmsNormWeightGrad(const void* x, const float* rstd, const void* dy, Type type,
                                 int64_t rows, int64_t width, float* partial, void* w_grad,
                                 Type grad_type, Stream stream) {
  if (rows == 0) return nullptr;
  const int64_t stretches = CeilDiv(rows, kWeightGradRows);
  const char* error = WithElements(type, {x, dy}, {width}, [&](auto zero, auto n) {
    using T = decltype(zero);
    constexpr int N = decltype(n)::value;
    // Blocks are numbered stretch by stretch, so that neighbours read neighbouring columns of the
    // same rows.
    const int64_t column_blocks = CeilDiv(width, int64_t{kThreads} * N);
    const auto blocks = static_cast<unsigned>(stretches * column_blocks);
    WeightGradOfRows<T, N><<<blocks, kThreads, 0, stream>>>(static_cast<const T*>(x), rstd,
                                                            static_cast<const T*>(dy), rows, width,
                                                            column_blocks, partial);
  });
  if (error != nullptr) return error;
  WithType(grad_type, [&](auto zero) {
    using T = decltype(zero);
    AddWeightGrad<T><<<BlocksFor(width, kWarp), kThreads, 0, stream>>>(partial, stretches, width,
                                                                       static_cast<T*>(w_grad));
  });
  return LaunchError();
}

}  // namespace

const NormKernels kNormKernels{RmsNormForward, RmsNormRecompute, RmsNormBackward,
                               AddRmsNormWeightGrad};

}  // namespace ftd::engine::cuda
