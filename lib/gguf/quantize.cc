#include "lib/gguf/quantize.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>

#include "lib/gguf/half.h"

namespace ftd::gguf {
namespace {

void PutHalf(float value, char* out) {
  const uint16_t bits = HalfBits(value);
  std::memcpy(out, &bits, sizeof bits);
}

float Inverse(float scale) { return scale != 0 ? 1.0F / scale : 0.0F; }

// Returns the number of the block that lies farthest from 0; the first of several.
float Extreme(const float* values) {
  float most = 0, extreme = 0;
  for (int64_t i = 0; i < kSmallBlock; ++i) {
    if (std::fabs(values[i]) <= most) continue;
    most = std::fabs(values[i]);
    extreme = values[i];
  }
  return extreme;
}

// Writes codes of up to 5 bits: the low halves of numbers i and i + 16 share a byte, and the fifth
// bits, where `fifths` is given, are a word before them.
void Pack(const uint8_t (&codes)[kSmallBlock], char* fifths, char* halves) {
  uint32_t high = 0;
  constexpr int64_t kPairs = kSmallBlock / 2;
  for (int64_t i = 0; i < kPairs; ++i) {
    halves[i] = static_cast<char>((codes[i] & 0xf) | (codes[i + kPairs] & 0xf) << 4);
    high |= static_cast<uint32_t>(codes[i] >> 4) << i;
    high |= static_cast<uint32_t>(codes[i + kPairs] >> 4) << (i + kPairs);
  }
  if (fifths != nullptr) std::memcpy(fifths, &high, sizeof high);
}

// The extreme becomes code 0, which stands for -below; its opposite has no code of its own.
void CodeSymmetric(const float* values, int below, float scale, uint8_t (&codes)[kSmallBlock]) {
  const float inverse = Inverse(scale);
  for (int64_t i = 0; i < kSmallBlock; ++i) {
    const float level = values[i] * inverse + (static_cast<float>(below) + 0.5F);
    codes[i] = static_cast<uint8_t>(std::min(2 * below - 1, static_cast<int>(level)));
  }
}

}  // namespace

void EncodeF32(const float* values, int64_t count, char* out) {
  std::memcpy(out, values, static_cast<size_t>(count) * sizeof(float));
}

void EncodeF16(const float* values, int64_t count, char* out) {
  for (int64_t i = 0; i < count; ++i) PutHalf(values[i], out + 2 * i);
}

void EncodeBF16(const float* values, int64_t count, char* out) {
  for (int64_t i = 0; i < count; ++i) {
    const uint16_t bits = BFloatBits(values[i]);
    std::memcpy(out + 2 * i, &bits, sizeof bits);
  }
}

void QuantizeQ8_0(const float* values, int64_t count, char* out) {
  for (; count > 0; count -= kSmallBlock, values += kSmallBlock, out += 34) {
    const float scale = std::fabs(Extreme(values)) / 127;
    const float inverse = Inverse(scale);
    PutHalf(scale, out);
    for (int64_t i = 0; i < kSmallBlock; ++i)
      out[2 + i] = static_cast<char>(static_cast<int8_t>(std::round(values[i] * inverse)));
  }
}

void QuantizeQ4_0(const float* values, int64_t count, char* out) {
  uint8_t codes[kSmallBlock];
  for (; count > 0; count -= kSmallBlock, values += kSmallBlock, out += 18) {
    const float scale = Extreme(values) / -8;
    CodeSymmetric(values, 8, scale, codes);
    PutHalf(scale, out);
    Pack(codes, nullptr, out + 2);
  }
}

void QuantizeQ5_0(const float* values, int64_t count, char* out) {
  uint8_t codes[kSmallBlock];
  for (; count > 0; count -= kSmallBlock, values += kSmallBlock, out += 22) {
    const float scale = Extreme(values) / -16;
    CodeSymmetric(values, 16, scale, codes);
    PutHalf(scale, out);
    Pack(codes, out + 2, out + 6);
  }
}

void QuantizeQ5_1(const float* values, int64_t count, char* out) {
  uint8_t codes[kSmallBlock];
  for (; count > 0; count -= kSmallBlock, values += kSmallBlock, out += 24) {
    const auto [least, most] = std::minmax_element(values, values + kSmallBlock);
    const float scale = (*most - *least) / 31;
    const float inverse = Inverse(scale);
    for (int64_t i = 0; i < kSmallBlock; ++i) {
      const float level = (values[i] - *least) * inverse + 0.5F;
      codes[i] = static_cast<uint8_t>(level);
    }
    PutHalf(scale, out);
    PutHalf(*least, out + 2);
    Pack(codes, out + 4, out + 8);
  }
}

}  // namespace ftd::gguf
