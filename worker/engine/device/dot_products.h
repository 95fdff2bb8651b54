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

// Writes the products of kW rows of w and kX rows of x, all of `length` numbers, to y, whose rows
// are `stride` apart. Lane l of a sum takes the numbers l, l + 16, … in turn, whatever kW and kX
// are; those past the last whole 16 follow the lanes' sum.
template <int kW, int kX, typename Weight>
[[gnu::always_inline]] inline void DotTile(const Weight* w, const float* x, float* y,
                                           int64_t length, int64_t stride) {
  Lanes sums[kW][kX] = {};
  const int64_t whole = length / kLanes * kLanes;
  for (int64_t i = 0; i < whole; i += kLanes) {
    Lanes from_x[kX], from_w;
    for (int b = 0; b < kX; ++b) Load(x + b * length + i, from_x[b]);
    for (int a = 0; a < kW; ++a) {
      Load(w + a * length + i, from_w);
      for (int b = 0; b < kX; ++b) sums[a][b] += from_w * from_x[b];
    }
  }
  for (int a = 0; a < kW; ++a) {
    for (int b = 0; b < kX; ++b) {
      float sum = Sum(sums[a][b]);
      for (int64_t i = whole; i < length; ++i)
        sum += static_cast<float>(w[a * length + i]) * x[b * length + i];
      y[b * stride + a] = sum;
    }
  }
}

constexpr int64_t kDotRows = 4;  // of w at a time: as many streams of memory

template <int kW, typename Weight>
[[gnu::always_inline]] inline void DotStrip(const Weight* w, const float* x, float* y, int64_t rows,
                                            int64_t length, int64_t stride) {
  int64_t b = 0;
  for (; b + 4 <= rows; b += 4) DotTile<kW, 4>(w, x + b * length, y + b * stride, length, stride);
  for (; b < rows; ++b) DotTile<kW, 1>(w, x + b * length, y + b * stride, length, stride);
}

// Writes y [rows, stride], columns [first, end): x [rows, length] times rows [first, end) of w. A
// strip of w stays in the cache for all rows of x.
template <typename Weight>
[[gnu::always_inline]] inline void DotProducts(const Weight* w, const float* x, float* y,
                                               int64_t rows, int64_t length, int64_t stride,
                                               int64_t first, int64_t end) {
  for (; first + kDotRows <= end; first += kDotRows)
    DotStrip<kDotRows>(w + first * length, x, y + first, rows, length, stride);
  for (; first < end; ++first) DotStrip<1>(w + first * length, x, y + first, rows, length, stride);
}

}  // namespace ftd::engine::cpu
