#include "lib/gguf/quantize.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "lib/gguf/half.h"
#include "lib/gguf/tensor_type.h"
#include "tests/lib/gguf/golden_blocks.h"
#include "tests/support/expect_status.h"

namespace ftd::gguf {
namespace {

// make_golden.py's numbers.
std::vector<float> Numbers(int64_t count) {
  uint32_t state = 12345;
  constexpr float kSizes[] = {1.0F, 8.0F, 0.125F, 0.0F, 1.0F, 64.0F};
  std::vector<float> values;
  for (int64_t i = 0; i < count; ++i) {
    state = state * 1664525U + 1013904223U;
    const float unit = (static_cast<float>(state >> 16) - 32768.0F) / 4096.0F;
    values.push_back(unit * kSizes[i / 32 % 6]);
  }
  return values;
}

std::string Hex(const std::string& bytes) {
  std::string hex;
  for (const char byte : bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    hex += kDigits[static_cast<uint8_t>(byte) >> 4];
    hex += kDigits[static_cast<uint8_t>(byte) & 15];
  }
  return hex;
}

std::string Encoded(TensorType type, const std::vector<float>& values) {
  const auto count = static_cast<int64_t>(values.size());
  std::string bytes(RowBytes(type, count), '?');
  RowOf(type).encode(values.data(), count, bytes.data());
  return bytes;
}

TEST(Quantize, BlocksEqualTheReference) {
  constexpr int64_t kSmall = 6 * kSmallBlock, kLarge = 2 * kLargeBlock;
  const struct {
    TensorType type;
    int64_t count;
    const char* want;
  } kCases[] = {
      {TensorType::kQ8_0, kSmall, kQ80Blocks}, {TensorType::kQ4_0, kSmall, kQ40Blocks},
      {TensorType::kQ5_0, kSmall, kQ50Blocks}, {TensorType::kQ5_1, kSmall, kQ51Blocks},
      {TensorType::kQ4K, kLarge, kQ4KBlocks},  {TensorType::kQ5K, kLarge, kQ5KBlocks},
      {TensorType::kQ6K, kLarge, kQ6KBlocks},
  };
  for (const auto& [type, count, want] : kCases)
    EXPECT_EQ(Hex(Encoded(type, Numbers(count))), want) << RowOf(type).name;
}

TEST(Quantize, ZerosStayZeros) {
  const std::vector<float> zeros(kLargeBlock, 0.0F);
  EXPECT_EQ(Encoded(TensorType::kQ6K, zeros), std::string(210, '\0'));
  EXPECT_EQ(Encoded(TensorType::kQ4K, zeros), std::string(144, '\0'));
  EXPECT_EQ(Encoded(TensorType::kQ8_0, zeros), std::string(8 * 34, '\0'));
}

TEST(Half, RoundsToTheNearestAndTiesToEven) {
  const struct {
    float value;
    uint16_t bits;
  } kCases[] = {
      {0.0F, 0x0000},           {-0.0F, 0x8000},           {1.0F, 0x3c00},
      {65504.0F, 0x7bff},       {65519.0F, 0x7bff},        {65520.0F, 0x7c00},
      {1e9F, 0x7c00},           {-1e9F, 0xfc00},           {0x1p-24F, 0x0001},
      {0x1p-25F, 0x0000},       {0x1.8p-25F, 0x0001},      {0x1p-14F, 0x0400},
      {0x1.ff8p-15F, 0x03ff},   {0x1.ffcp-15F, 0x0400},    {1 + 0x1p-11F, 0x3c00},
      {1 + 0x1.8p-10F, 0x3c02}, {-1 - 0x1.1p-11F, 0xbc01},
  };
  for (const auto& [value, bits] : kCases) EXPECT_EQ(HalfBits(value), bits) << value;
  EXPECT_EQ(HalfBits(std::numeric_limits<float>::quiet_NaN()) & 0x7fff, 0x7e00);
}

TEST(Half, EveryHalfSurvives) {
  for (uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const float value = FromHalf(static_cast<uint16_t>(bits));
    if (std::isnan(value)) continue;
    ASSERT_EQ(HalfBits(value), bits);
  }
}

TEST(BFloat, RoundsTiesToEven) {
  EXPECT_EQ(BFloatBits(1 + 0x1p-8F), 0x3f80);
  EXPECT_EQ(BFloatBits(1 + 0x1.8p-7F), 0x3f82);
  EXPECT_EQ(FromBFloat(0x3f81), 1 + 0x1p-7F);
  EXPECT_TRUE(std::isnan(FromBFloat(BFloatBits(std::numeric_limits<float>::quiet_NaN()))));
}

}  // namespace
}  // namespace ftd::gguf
