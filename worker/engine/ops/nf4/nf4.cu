#include "worker/engine/ops/nf4/nf4_kernel.h"

#include "worker/engine/device/elements.h"
#include "worker/engine/ops/nf4/nf4_math.h"

namespace ftd::engine::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kShare =
    8;  // elements of a thread that dequantises: 4 bytes read, 16 written in bf16
static_assert(kNf4Block % kShare == 0, "a thread's elements have one scale");
static_assert(kNf4Block == 2 * kWarp, "a lane's two elements make one byte");

// Returns a block's scale, as nf4.cc's Scales. The threads of a block of 64 read the same
// addresses, which the cache serves.
__device__ float ScaleOf(const Nf4Pointers& q, int64_t block) {
  if (q.scales != nullptr) return q.scales[block];
  return q.nested_map[q.absmax[block]] * q.nested_absmax[block / kNf4NestedBlock] + q.nested_offset;
}

// Each thread expands 8 elements: it reads 4 bytes of codes and one scale, and writes 16 bytes of a
// 16-bit type or 32 of float32. Nothing is added up, so the bits cannot depend on threads.
// `aligned`: the codes to 4 bytes and `out` to 16; else, and at the end of the matrix, element by
// element.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    Dequantize(Nf4Pointers q, T* out, int64_t count, bool aligned) {
  __shared__ float values[kNf4Values];  // a bank each: lanes that differ do not wait
  if (threadIdx.x < kNf4Values) values[threadIdx.x] = Nf4Value(threadIdx.x);
  __syncthreads();
  const int64_t first = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * kShare;
  if (first >= count) return;
  const float scale = ScaleOf(q, first / kNf4Block);
  if (!aligned || first + kShare > count) {
    for (int64_t i = first; i < first + kShare && i < count; ++i) {
      const int byte = q.codes[i / 2];
      out[i] = static_cast<T>(values[i % 2 == 0 ? byte >> 4 : byte & 15] * scale);
    }
    return;
  }
  // Little-endian: the first byte, with elements 0 and 1, is the lowest of the word.
  const uint32_t packed = reinterpret_cast<const uint32_t*>(q.codes)[first / kShare];
  union {
    T elements[kShare];
    uint4 words[kShare * sizeof(T) / sizeof(uint4)];
  } share;
  for (int i = 0; i < kShare; i += 2) {
    const uint32_t byte = packed >> (4 * i) & 255;
    share.elements[i] = static_cast<T>(values[byte >> 4] * scale);
    share.elements[i + 1] = static_cast<T>(values[byte & 15] * scale);
  }
  auto* words = reinterpret_cast<uint4*>(out + first);
  for (int i = 0; i < static_cast<int>(kShare * sizeof(T) / sizeof(uint4)); ++i)
    words[i] = share.words[i];
}

// Rounds to a dtype that is known only at run time; the same for all threads, so no warp diverges.
__device__ float RoundedTo(Type type, float value) {
  if (type == Type::kBfloat16) return Rounded<__nv_bfloat16>(value);
  if (type == Type::kFloat16) return Rounded<__half>(value);
  return value;
}

// Returns the number of midpoints below: the index of the nearest value (nf4_math.h).
__device__ int CodeOf(float scaled) {
  int code = 0;
#pragma unroll
  for (int k = 0; k + 1 < kNf4Values; ++k) code += scaled > Nf4Midpoint(k) ? 1 : 0;
  return code;
}

// A warp quantises a block; each lane two elements, the high and the low half of a byte. Every
// element is read once. A maximum has no rounding, so the butterfly over the warp gives the CPU's
// bits. Elements past the end count as zero, which changes no maximum.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    Quantize(const T* values, Type rounding, int64_t count, uint8_t* codes, float* scales) {
  const int64_t block = (int64_t{blockIdx.x} * kThreads + threadIdx.x) / kWarp;
  if (block * kNf4Block >= count) return;  // the whole warp
  const int lane = threadIdx.x % kWarp;
  const int64_t high = block * kNf4Block + 2 * lane, low = high + 1;
  const float a = high < count ? RoundedTo(rounding, static_cast<float>(values[high])) : 0;
  const float b = low < count ? RoundedTo(rounding, static_cast<float>(values[low])) : 0;
  float largest = Nf4Larger(Nf4Larger(0, fabsf(a)), fabsf(b));
  for (int step = kWarp / 2; step > 0; step /= 2)
    largest = Nf4Larger(largest, __shfl_xor_sync(0xFFFFFFFF, largest, step));
  const bool whole = (block + 1) * kNf4Block <= count;
  const float scale = Nf4Scale(largest, whole);
  if (lane == 0) scales[block] = scale;
  if (high >= count) return;
  const int code = CodeOf(Nf4Scaled(a, scale, whole)) << 4 | CodeOf(Nf4Scaled(b, scale, whole));
  codes[high / 2] = static_cast<uint8_t>(code);
}

// The launchers of nf4_kernel.h.
const char* DequantizeNf4(const Nf4Pointers& q, void* out, Type type, int64_t count,
                          Stream stream) {
  const bool aligned = reinterpret_cast<uintptr_t>(q.codes) % sizeof(uint32_t) == 0 &&
                       reinterpret_cast<uintptr_t>(out) % sizeof(uint4) == 0;
  const unsigned blocks = BlocksFor(CeilDiv(count, kShare), kThreads);
  WithType(type, [&](auto zero) {
    using T = decltype(zero);
    Dequantize<T><<<blocks, kThreads, 0, stream>>>(q, static_cast<T*>(out), count, aligned);
  });
  return LaunchError();
}

const char* QuantizeNf4(const void* values, Type type, Type rounding, int64_t count, uint8_t* codes,
                        float* scales, Stream stream) {
  const unsigned blocks = BlocksFor(CeilDiv(count, kNf4Block) * kWarp, kThreads);
  WithType(type, [&](auto zero) {
    using T = decltype(zero);
    Quantize<T><<<blocks, kThreads, 0, stream>>>(static_cast<const T*>(values), rounding, count,
                                                 codes, scales);
  });
  return LaunchError();
}

}  // namespace

const Nf4Kernels kNf4Kernels{DequantizeNf4, QuantizeNf4};

}  // namespace ftd::engine::cuda
