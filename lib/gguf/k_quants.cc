// The quantisers of blocks of 256 numbers. Their search for scales is ggml's, step by step and in
// its order of float32 additions: any other order would give other bytes.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "lib/gguf/half.h"
#include "lib/gguf/quantize.h"

namespace ftd::gguf {
namespace {

constexpr int64_t kGroup = 32, kGroups = kLargeBlock / kGroup;  // of Q4_K and Q5_K
constexpr int64_t kSignedGroup = 16, kSignedGroups = kLargeBlock / kSignedGroup;  // of Q6_K
constexpr float kAlmostZero = 1e-15F;

// To the nearest integer, ties to even. Requires: |value| < 2^22.
int Nearest(float value) {
  const float shifted = value + 12582912.0F;  // 1.5·2^23: the last bits are the integer
  return static_cast<int>(std::bit_cast<uint32_t>(shifted) & 0x7fffff) - 0x400000;
}

void PutHalf(uint16_t bits, char* out) { std::memcpy(out, &bits, sizeof bits); }

// x ≈ scale·code - drop, with codes from 0.
struct Affine {
  float scale = 0, drop = 0;
};

// Sums of a candidate's codes q under the weights w.
struct CodeSums {
  float q = 0, qq = 0, qx = 0;
};

void CodeFromLeast(const float* x, float least, float inverse, int top, uint8_t* codes) {
  for (int i = 0; i < kGroup; ++i)
    codes[i] = static_cast<uint8_t>(std::clamp(Nearest(inverse * (x[i] - least)), 0, top));
}

float SquaredError(const float* x, const float* w, const uint8_t* codes, float scale, float least) {
  float error = 0;
  for (int i = 0; i < kGroup; ++i) {
    const float difference = scale * codes[i] + least - x[i];
    error += w[i] * (difference * difference);
  }
  return error;
}

CodeSums SumCodes(const float* x, const float* w, const uint8_t* codes) {
  CodeSums sums;
  for (int i = 0; i < kGroup; ++i) {
    const float q = codes[i];
    sums.q += w[i] * q;
    sums.qq += w[i] * q * q;
    sums.qx += w[i] * q * x[i];
  }
  return sums;
}

// How finely the scale is searched: steps of 0.1 level around the plain one.
struct Search {
  int top;      // the largest code
  float first;  // step, in levels
  int steps;
};

// Weighted least squares for scale and minimum: for each of some scales the numbers are coded, then
// both are fitted to the codes, and the best fit wins. Its codes go to `chosen`.
Affine FitAffine(const float* x, const Search& search, uint8_t* chosen) {
  float squares = 0, w[kGroup], sum_w = 0, sum_x = 0;
  for (int i = 0; i < kGroup; ++i) squares += x[i] * x[i];
  const float typical = std::sqrt(squares / kGroup);
  for (int i = 0; i < kGroup; ++i) {
    w[i] = typical + std::fabs(x[i]);
    sum_w += w[i];
    sum_x += w[i] * x[i];
  }
  float least = std::min(*std::min_element(x, x + kGroup), 0.0F);
  const float most = *std::max_element(x, x + kGroup);
  std::fill_n(chosen, kGroup, 0);
  if (most == least) return {0, -least};

  uint8_t codes[kGroup];
  const float inverse = static_cast<float>(search.top) / (most - least);
  CodeFromLeast(x, least, inverse, search.top, chosen);
  Affine best{1 / inverse, -least};
  float best_error = SquaredError(x, w, chosen, best.scale, least);
  for (int step = 0; step <= search.steps; ++step) {
    const float levels =
        search.first + 0.1F * static_cast<float>(step) + static_cast<float>(search.top);
    CodeFromLeast(x, least, levels / (most - least), search.top, codes);
    const CodeSums sums = SumCodes(x, w, codes);
    const float determinant = sum_w * sums.qq - sums.q * sums.q;
    if (!(determinant > 0)) continue;
    float scale = (sum_w * sums.qx - sum_x * sums.q) / determinant;
    float fitted = (sums.qq * sum_x - sums.q * sums.qx) / determinant;
    if (fitted > 0) {  // a minimum is only ever subtracted
      fitted = 0;
      scale = sums.qx / sums.qq;
    }
    const float error = SquaredError(x, w, codes, scale, fitted);
    if (!(error < best_error)) continue;
    best_error = error;
    best = {scale, -fitted};
    least = fitted;  // the next candidates are coded from here
    std::copy_n(codes, kGroup, chosen);
  }
  return best;
}

// The 12 bytes of 8 scales s and 8 minima m of 6 bits: the first four of each in the low bits of
// bytes 0 to 7, whose two high bits hold the top of the last four.
void PackSixBits(const uint8_t (&s)[kGroups], const uint8_t (&m)[kGroups], char* out) {
  for (int i = 0; i < 4; ++i) {
    out[i] = static_cast<char>(s[i] | (s[i + 4] >> 4) << 6);
    out[i + 4] = static_cast<char>(m[i] | (m[i + 4] >> 4) << 6);
    out[i + 8] = static_cast<char>((s[i + 4] & 0xf) | (m[i + 4] & 0xf) << 4);
  }
}

// Chooses and writes a block's scales, 16 bytes (d, dmin, then 6 bits each), and codes its numbers.
void CodeAffineBlock(const float* x, const Search& search, char* scales_out,
                     uint8_t (&codes)[kLargeBlock]) {
  Affine fits[kGroups];
  float most_scale = 0, most_drop = 0;
  for (int64_t g = 0; g < kGroups; ++g) {
    fits[g] = FitAffine(x + g * kGroup, search, codes + g * kGroup);
    most_scale = std::max(most_scale, fits[g].scale);
    most_drop = std::max(most_drop, fits[g].drop);
  }
  const float inverse_scale = most_scale > 0 ? 63.0F / most_scale : 0;
  const float inverse_drop = most_drop > 0 ? 63.0F / most_drop : 0;
  const uint16_t d = HalfBits(most_scale / 63), dmin = HalfBits(most_drop / 63);
  uint8_t s[kGroups], m[kGroups];
  for (int64_t g = 0; g < kGroups; ++g) {
    s[g] = std::min<uint8_t>(63, static_cast<uint8_t>(Nearest(inverse_scale * fits[g].scale)));
    m[g] = std::min<uint8_t>(63, static_cast<uint8_t>(Nearest(inverse_drop * fits[g].drop)));
  }
  PutHalf(d, scales_out);
  PutHalf(dmin, scales_out + 2);
  PackSixBits(s, m, scales_out + 4);

  // Again, by the scales as they are written. A group whose scale became 0 keeps the fit's codes:
  // nobody can read them, but they are ggml's bytes.
  for (int64_t g = 0; g < kGroups; ++g) {
    const float scale = FromHalf(d) * s[g];
    const float drop = FromHalf(dmin) * m[g];
    if (scale == 0) continue;
    for (int64_t i = g * kGroup; i < (g + 1) * kGroup; ++i)
      codes[i] = static_cast<uint8_t>(std::clamp(Nearest((x[i] + drop) / scale), 0, search.top));
  }
}

// The low 4 bits of the codes: groups 2k and 2k + 1 share 32 bytes.
void PackNibbles(const uint8_t (&codes)[kLargeBlock], char* out) {
  for (int64_t pair = 0; pair < kLargeBlock; pair += 2 * kGroup) {
    for (int i = 0; i < kGroup; ++i) {
      *out++ = static_cast<char>((codes[pair + i] & 0xf) | (codes[pair + kGroup + i] & 0xf) << 4);
    }
  }
}

int SignedCode(float value) { return std::clamp(Nearest(value), -32, 31); }

void CodeSigned(const float* x, float inverse, uint8_t* codes) {
  for (int i = 0; i < kSignedGroup; ++i)
    codes[i] = static_cast<uint8_t>(32 + SignedCode(inverse * x[i]));
}

// The scale of 16 numbers coded from -32 to 31, by least squares under the weights x²; the
// candidates lie around the one that makes the extreme number -32. The codes, plus 32, go to
// `codes`; of numbers that are almost 0 they are 0.
float FitSigned(const float* x, uint8_t* codes) {
  const float extreme = *std::max_element(
      x, x + kSignedGroup, [](float a, float b) { return std::fabs(a) < std::fabs(b); });
  std::fill_n(codes, kSignedGroup, 0);
  if (std::fabs(extreme) < kAlmostZero) return 0;
  float scale = 0, best = 0;
  for (const int step : {0, -9, -8, -7, -6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6, 7, 8, 9}) {
    const float inverse = -(32 + 0.1F * static_cast<float>(step)) / extreme;
    float xq = 0, qq = 0;
    for (int i = 0; i < kSignedGroup; ++i) {
      const auto q = static_cast<float>(SignedCode(inverse * x[i]));
      const float w = x[i] * x[i];
      xq += w * x[i] * q;
      qq += w * q * q;
    }
    if (step != 0 && !(qq > 0 && xq * xq > best * qq)) continue;
    scale = qq != 0 ? xq / qq : 0;
    best = scale * xq;
    CodeSigned(x, inverse, codes);
  }
  return scale;
}

// Of each 128 codes, i, i + 32, i + 64 and i + 96 share bytes: 64 bytes of low nibbles, and in
// another place 32 of high bits.
void PackSixBitCodes(const uint8_t (&codes)[kLargeBlock], char* nibbles, char* highs) {
  for (int64_t half = 0; half < 2; ++half) {
    for (int i = 0; i < 32; ++i) {
      const uint8_t* const q = codes + 128 * half + i;
      nibbles[64 * half + i] = static_cast<char>((q[0] & 0xf) | (q[64] & 0xf) << 4);
      nibbles[64 * half + 32 + i] = static_cast<char>((q[32] & 0xf) | (q[96] & 0xf) << 4);
      highs[32 * half + i] =
          static_cast<char>(q[0] >> 4 | (q[32] >> 4) << 2 | (q[64] >> 4) << 4 | (q[96] >> 4) << 6);
    }
  }
}

}  // namespace

void QuantizeQ4K(const float* values, int64_t count, char* out) {
  uint8_t codes[kLargeBlock];
  for (; count > 0; count -= kLargeBlock, values += kLargeBlock, out += 144) {
    CodeAffineBlock(values, {15, -1.0F, 20}, out, codes);
    PackNibbles(codes, out + 16);
  }
}

void QuantizeQ5K(const float* values, int64_t count, char* out) {
  uint8_t codes[kLargeBlock];
  for (; count > 0; count -= kLargeBlock, values += kLargeBlock, out += 176) {
    CodeAffineBlock(values, {31, -0.5F, 15}, out, codes);
    // The fifth bit of number i of group g is bit g of byte i.
    char* const fifths = out + 16;
    for (int i = 0; i < kGroup; ++i) {
      int bits = 0;
      for (int64_t g = 0; g < kGroups; ++g) bits |= (codes[g * kGroup + i] >> 4) << g;
      fifths[i] = static_cast<char>(bits);
    }
    PackNibbles(codes, out + 48);
  }
}

void QuantizeQ6K(const float* values, int64_t count, char* out) {
  uint8_t codes[kLargeBlock];
  for (; count > 0; count -= kLargeBlock, values += kLargeBlock, out += 210) {
    float scales[kSignedGroups], extreme = 0;
    for (int64_t g = 0; g < kSignedGroups; ++g) {
      scales[g] = FitSigned(values + g * kSignedGroup, codes + g * kSignedGroup);
      if (std::fabs(scales[g]) > std::fabs(extreme)) extreme = scales[g];
    }
    if (std::fabs(extreme) < kAlmostZero) {
      std::memset(out, 0, 210);
      continue;
    }
    const float inverse = -128.0F / extreme;
    const uint16_t d = HalfBits(1 / inverse);
    for (int64_t g = 0; g < kSignedGroups; ++g) {
      const int s = std::min(127, Nearest(inverse * scales[g]));
      out[192 + g] = static_cast<char>(s);
      const float scale = FromHalf(d) * static_cast<float>(s);
      if (scale == 0) continue;
      for (int64_t i = g * kSignedGroup; i < (g + 1) * kSignedGroup; ++i)
        codes[i] = static_cast<uint8_t>(32 + SignedCode(values[i] / scale));
    }
    PackSixBitCodes(codes, out, out + 128);
    PutHalf(d, out + 208);
  }
}

}  // namespace ftd::gguf
