// Dot products of rows with rows, for operators on the CPU that read much memory for little
// arithmetic. Each sum has an order of its own, which the length of a row alone decides.
//
// The functions are parts of functions marked FTD_MULTIVERSION.
#pragma once

#include <c10/util/BFloat16.h>

#include <cstdint>
#include <cstring>

namespace ftd::engine::cpu {

constexpr int64_t kLanes = 16;

using Lanes [[gnu::vector_size(kLanes * sizeof(float))]] = float;
using LaneBits [[gnu::vector_size(kLanes * sizeof(uint32_t))]] = uint32_t;
using LaneHalves [[gnu::vector_size(kLanes * sizeof(uint16_t))]] = uint16_t;

[[gnu::always_inline]] inline void Load(const float* from, Lanes& to) {
  std::memcpy(&to, from, sizeof(to));
}
// A bfloat16 is the upper half of a float32.
[[gnu::always_inline]] inline void Load(const c10::BFloat16* from, Lanes& to) {
  LaneHalves halves;
  std::memcpy(&halves, from, sizeof(halves));
  const LaneBits bits = __builtin_convertvector(halves, LaneBits) << 16;
  std::memcpy(&to, &bits, sizeof(to));
}

// Returns the sum of the lanes: halves onto halves.
[[gnu::always_inline]] inline float Sum(const Lanes& lanes) {
  float of[kLanes];
  std::memcpy(of, &lanes, sizeof(of));
  for (int64_t half = kLanes / 2; half > 0; half /= 2)
    for (int64_t i = 0; i < half; ++i) of[i] += of[i + half];
  return of[0];
}

// Writes the products of one row w and kX rows of x, all of `length` numbers, to y, whose rows are
// `stride` apart. The row is read from front to back, as memory is fastest; four running sums of 16
// lanes hide the latency of an addition. Number i is added to lane i mod 16 of sum i / 16 mod 4,
// whatever kX is; those past the last whole 16 follow the lanes' sum.
template <int kX, typename Weight>
[[gnu::always_inline]] inline void DotRow(const Weight* w, const float* x, float* y, int64_t length,
                                          int64_t stride) {
  constexpr int kSums = 4;
  Lanes sums[kSums][kX] = {};
  const auto add = [&](int64_t i, int into) __attribute__((always_inline)) {
    Lanes from_w, from_x;
    Load(w + i, from_w);
    for (int b = 0; b < kX; ++b) {
      Load(x + b * length + i, from_x);
      sums[into][b] += from_w * from_x;
    }
  };
  int64_t i = 0;
  for (; i + kSums * kLanes <= length; i += kSums * kLanes)
    for (int a = 0; a < kSums; ++a) add(i + a * kLanes, a);
  for (int a = 0; i + kLanes <= length; i += kLanes, ++a) add(i, a);
  for (int b = 0; b < kX; ++b) {
    float sum = Sum((sums[0][b] + sums[1][b]) + (sums[2][b] + sums[3][b]));
    for (int64_t rest = i; rest < length; ++rest)
      sum += static_cast<float>(w[rest]) * x[b * length + rest];
    y[b * stride] = sum;
  }
}

// Writes y [rows, stride], columns [first, end): x [rows, length] times rows [first, end) of w.
template <typename Weight>
[[gnu::always_inline]] inline void DotProducts(const Weight* w, const float* x, float* y,
                                               int64_t rows, int64_t length, int64_t stride,
                                               int64_t first, int64_t end) {
  for (; first < end; ++first) {
    const Weight* row = w + first * length;
    int64_t b = 0;
    for (; b + 4 <= rows; b += 4)
      DotRow<4>(row, x + b * length, y + b * stride + first, length, stride);
    for (; b < rows; ++b) DotRow<1>(row, x + b * length, y + b * stride + first, length, stride);
  }
}

}  // namespace ftd::engine::cpu
