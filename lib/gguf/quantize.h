// From float32 to the bytes of a tensor type: what tensor_type.h's table names. Each writes `count`
// numbers, which are whole blocks. Numbers that are not finite give blocks without meaning.
#pragma once

#include <cstdint>

namespace ftd::gguf {

inline constexpr int64_t kSmallBlock = 32, kLargeBlock = 256;

void EncodeF32(const float* values, int64_t count, char* out);
void EncodeF16(const float* values, int64_t count, char* out);
void EncodeBF16(const float* values, int64_t count, char* out);

// Blocks of 32 with a half-precision scale d: 8, 4 or 5 bits a number.
void QuantizeQ8_0(const float* values, int64_t count, char* out);  // x ≈ d·q
void QuantizeQ4_0(const float* values, int64_t count, char* out);  // x ≈ d·(q - 8)
void QuantizeQ5_0(const float* values, int64_t count, char* out);  // x ≈ d·(q - 16)
void QuantizeQ5_1(const float* values, int64_t count, char* out);  // x ≈ d·q + m

// Blocks of 256 in groups of 32 or 16, whose scales and minima are small integers themselves.
void QuantizeQ4K(const float* values, int64_t count, char* out);  // x ≈ d·s·q - dmin·m
void QuantizeQ5K(const float* values, int64_t count, char* out);  // likewise
void QuantizeQ6K(const float* values, int64_t count, char* out);  // x ≈ d·s·(q - 32)

}  // namespace ftd::gguf
