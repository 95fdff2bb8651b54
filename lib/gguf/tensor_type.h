// The types of tensors in a GGUF file: how a row of numbers becomes bytes.
//
// A quantised row is cut into blocks that share a scale. The formats are ggml's (ggml-common.h of
// llama.cpp); the bytes equal those of its reference quantisers (quantize_row_*_ref) on x86-64.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ftd::gguf {

// The value is the number that the file holds.
enum class TensorType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ4K = 12,
  kQ5K = 13,
  kQ6K = 14,
  kBF16 = 30,
};

struct TensorTypeRow {
  TensorType type;
  std::string_view name;  // "Q4_K"
  int64_t block;          // numbers in a block
  int64_t block_bytes;
  // Writes the bytes of `count` numbers, which are whole blocks.
  void (*encode)(const float* values, int64_t count, char* out);
};

const TensorTypeRow& RowOf(TensorType type);

// The bytes of a row of `count` numbers. Requires: whole blocks.
inline int64_t RowBytes(TensorType type, int64_t count) {
  const TensorTypeRow& row = RowOf(type);
  return count / row.block * row.block_bytes;
}

}  // namespace ftd::gguf
