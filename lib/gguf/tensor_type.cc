#include "lib/gguf/tensor_type.h"

#include "lib/gguf/quantize.h"

namespace ftd::gguf {
namespace {

constexpr TensorTypeRow kTypes[] = {
    {TensorType::kF32, "F32", 1, 4, EncodeF32},
    {TensorType::kF16, "F16", 1, 2, EncodeF16},
    {TensorType::kBF16, "BF16", 1, 2, EncodeBF16},
    {TensorType::kQ8_0, "Q8_0", kSmallBlock, 34, QuantizeQ8_0},
    {TensorType::kQ4_0, "Q4_0", kSmallBlock, 18, QuantizeQ4_0},
    {TensorType::kQ5_0, "Q5_0", kSmallBlock, 22, QuantizeQ5_0},
    {TensorType::kQ5_1, "Q5_1", kSmallBlock, 24, QuantizeQ5_1},
    {TensorType::kQ4K, "Q4_K", kLargeBlock, 144, QuantizeQ4K},
    {TensorType::kQ5K, "Q5_K", kLargeBlock, 176, QuantizeQ5K},
    {TensorType::kQ6K, "Q6_K", kLargeBlock, 210, QuantizeQ6K},
};

}  // namespace

const TensorTypeRow& RowOf(TensorType type) {
  const TensorTypeRow* row = kTypes;
  while (row->type != type) ++row;
  return *row;
}

}  // namespace ftd::gguf
