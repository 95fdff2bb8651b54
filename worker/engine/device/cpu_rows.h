// The parts that the operators' passes over float32 rows on the CPU share. Each pass has an ATen
// twin in the file that calls it, which serves the other dtypes and devices and is its oracle in
// the tests.
//
// Rows are shared out among threads whole, so results do not depend on the number of threads.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <bit>
#include <cstdint>

namespace ftd::engine::cpu {

// Returns whether `x` is what these passes are for.
inline bool Serves(const at::Tensor& x) { return x.is_cpu() && x.scalar_type() == at::kFloat; }

// Returns the rows that a thread takes at a time: enough work to be worth a hand-over.
inline int64_t Grain(int64_t row_elements) {
  return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, row_elements));
}

// Returns e^x to within 2 units in the last place, without a branch, so that loops over it
// vectorise: x = n·ln 2 + r, e^r by its Taylor polynomial of degree 7 on |r| ≤ ln 2 / 2, and 2^n
// put together from bits.
inline float Exp(float x) {
  constexpr float kRound = 12582912.0F;  // 1.5 · 2²³: adding it rounds to the nearest integer
  x = x < -87.0F ? -87.0F : (x > 88.0F ? 88.0F : x);
  const float shifted = x * 1.44269504F + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * 0.693359375F) + n * 2.12194440e-4F;
  float p = 1.0F / 5040;
  p = p * r + 1.0F / 720;
  p = p * r + 1.0F / 120;
  p = p * r + 1.0F / 24;
  p = p * r + 1.0F / 6;
  p = p * r + 0.5F;
  p = p * r + 1.0F;
  p = p * r + 1.0F;
  const int32_t exponent = (std::bit_cast<int32_t>(shifted) - std::bit_cast<int32_t>(kRound) + 127)
                           << 23;
  return p * std::bit_cast<float>(exponent);
}

}  // namespace ftd::engine::cpu
