#include "worker/engine/ops/loss/loss_kernel.h"

#include "worker/engine/device/elements.h"
#include "worker/engine/ops/loss/loss_row.h"

namespace ftd::engine::cuda {
namespace {

constexpr int kThreads = 512;

// Sixteen bytes of a row. A row may begin anywhere, so packets are counted from the last 16-byte
// boundary at or before it; the first and the last may be partly outside.
template <typename T>
struct Packet {
  static constexpr int kSize = sizeof(uint4) / sizeof(T);
  float x[kSize];

  // Reads the packet's entries as float32: as one 16-byte word where all lie within the row.
  // Entries outside the row read as −∞, which adds nothing to the sums.
  __device__ void Load(const T* row, int32_t first, int32_t count) {
    if (first >= 0 && first + kSize <= count) {
      union {
        uint4 words;
        T entries[kSize];
      } raw;
      raw.words = *reinterpret_cast<const uint4*>(row + first);
#pragma unroll
      for (int i = 0; i < kSize; ++i) x[i] = static_cast<float>(raw.entries[i]);
      return;
    }
#pragma unroll
    for (int i = 0; i < kSize; ++i) {
      const int32_t at = first + i;
      x[i] = at >= 0 && at < count ? static_cast<float>(row[at]) : -INFINITY;
    }
  }

  // Rounds to T and writes; entries outside the row belong to its neighbours and stay untouched.
  __device__ void Store(T* row, int32_t first, int32_t count) const {
    if (first >= 0 && first + kSize <= count) {
      union {
        uint4 words;
        T entries[kSize];
      } raw;
#pragma unroll
      for (int i = 0; i < kSize; ++i) raw.entries[i] = static_cast<T>(x[i]);
      *reinterpret_cast<uint4*>(row + first) = raw.words;
      return;
    }
#pragma unroll
    for (int i = 0; i < kSize; ++i) {
      const int32_t at = first + i;
      if (at >= 0 && at < count) row[at] = static_cast<T>(x[i]);
    }
  }
};

// Merges by a butterfly: after five exchanges each lane has all 32 sums, in an order that is fixed.
__device__ SoftmaxSums OverWarp(SoftmaxSums sums) {
  for (int step = kWarp / 2; step > 0; step /= 2) {
    sums.Merge({__shfl_xor_sync(0xFFFFFFFF, sums.max, step),
                __shfl_xor_sync(0xFFFFFFFF, sums.e, step),
                __shfl_xor_sync(0xFFFFFFFF, sums.es, step)});
  }
  return sums;
}

// Returns the sums of all threads to each of them. Every warp merges the warps' sums by itself,
// which saves a second barrier; lanes without a warp to read merge empty sums.
__device__ SoftmaxSums OverBlock(SoftmaxSums sums) {
  static_assert(kThreads / kWarp <= kWarp, "a warp adds up the warps");
  __shared__ float parts[3][kThreads / kWarp];
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  sums = OverWarp(sums);
  if (lane == 0) {
    parts[0][warp] = sums.max;
    parts[1][warp] = sums.e;
    parts[2][warp] = sums.es;
  }
  __syncthreads();
  SoftmaxSums part;
  if (lane < kThreads / kWarp) part = {parts[0][lane], parts[1][lane], parts[2][lane]};
  return OverWarp(part);
}

// One block of 512 threads per row: reads it twice, writes it once. The first pass finds the
// largest entry and the sums together (loss_row.h); the second makes the gradient. A thread takes
// every 512th packet.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    Tile(T* logits, const int64_t* targets, int32_t vocabulary, float at_target, float everywhere,
         float* row_sums) {
  T* row = logits + int64_t{blockIdx.x} * vocabulary;
  const auto target = static_cast<int32_t>(targets[blockIdx.x]);
  // Read by all threads before any of them overwrites the row; OverBlock's barrier lies in between.
  const auto target_logit = static_cast<float>(row[target]);
  using Packet = Packet<T>;
  // A vocabulary that is not a multiple of the packet's size puts rows at any address. Packets are
  // aligned all the same: they start `before` entries ahead of the row.
  const int32_t before = reinterpret_cast<uintptr_t>(row) % sizeof(uint4) / sizeof(T);
  const int32_t begin = static_cast<int32_t>(threadIdx.x) * Packet::kSize - before;
  constexpr int32_t kStride = kThreads * Packet::kSize;
  Packet packet;

  SoftmaxSums sums;
  for (int32_t first = begin; first < vocabulary; first += kStride) {
    packet.Load(row, first, vocabulary);
    // The sums are rescaled at most once per packet, and not once per entry.
    float largest = sums.max;
#pragma unroll
    for (float x : packet.x) largest = x > largest ? x : largest;
    sums.Raise(largest);
#pragma unroll
    for (float x : packet.x) sums.Add(x);
  }
  sums = OverBlock(sums);  // after this no thread needs the logits of another

  // One number is subtracted, so that the result is rounded as often with label smoothing as
  // without.
  const float base = sums.Base(), factor = 1 / sums.e, hot = everywhere + at_target;
  bool earlier = false;  // an entry before the target that is as large as any
  for (int32_t first = begin; first < vocabulary; first += kStride) {
    packet.Load(row, first, vocabulary);
#pragma unroll
    for (int i = 0; i < Packet::kSize; ++i) {
      earlier |= packet.x[i] == sums.max && first + i < target;
      packet.x[i] = Exp(packet.x[i] - base) * factor - (first + i == target ? hot : everywhere);
    }
    packet.Store(row, first, vocabulary);
  }
  const bool likeliest = __syncthreads_or(earlier) == 0 && target_logit == sums.max;
  if (threadIdx.x != 0) return;
  float* result = row_sums + int64_t{blockIdx.x} * kRowSums;
  result[0] = sums.Nll(target_logit);
  result[1] = sums.Entropy();
  result[2] = likeliest ? 1 : 0;
}

// The launcher of loss_kernel.h.
const char* LossTile(void* logits, Type type, const int64_t* targets, int64_t rows,
                     int32_t vocabulary, float at_target, float everywhere, float* row_sums,
                     Stream stream) {
  WithType(type, [&](auto zero) {
    using T = decltype(zero);
    Tile<T><<<static_cast<unsigned>(rows), kThreads, 0, stream>>>(
        static_cast<T*>(logits), targets, vocabulary, at_target, everywhere, row_sums);
  });
  return LaunchError();
}

}  // namespace

const LossKernels kLossKernels{LossTile};

}  // namespace ftd::engine::cuda
