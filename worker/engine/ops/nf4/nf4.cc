#include "worker/engine/ops/nf4/nf4.h"

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "lib/base/ceil_div.h"
#include "worker/engine/device/kernel_call.h"
#include "worker/engine/device/multiversion.h"
#include "worker/engine/ops/nf4/nf4_cuda.h"
#include "worker/engine/ops/nf4/nf4_math.h"

namespace ftd::engine {
namespace {

constexpr int64_t kGrain = 1024;  // blocks that a thread takes at a time

constexpr std::array<float, kNf4Values> kValues = [] {
  std::array<float, kNf4Values> values{};
  for (int i = 0; i < kNf4Values; ++i) values[i] = Nf4Value(i);
  return values;
}();

// Returns the largest absolute value; entries that are not numbers are passed over (Nf4Larger).
float LargestOf(const float* values, int64_t count) {
  float largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = Nf4Larger(largest, std::fabs(values[i]));
  return largest;
}

// Returns the same of a whole block, in running maxima that vectorise.
FTD_MULTIVERSION float LargestOfBlock(const float* values) {
  std::array<float, 16> largest{};
  for (int64_t i = 0; i < kNf4Block; i += 16) {
    for (int64_t j = 0; j < 16; ++j) largest[j] = Nf4Larger(largest[j], std::fabs(values[i + j]));
  }
  return LargestOf(largest.data(), 16);
}

// Writes the indices of the nearest values, two to a byte, the first in the high half. An index is
// the number of midpoints below the value: 15 comparisons without a branch, which gives the result
// of bitsandbytes' bucketize over the same midpoints.
FTD_MULTIVERSION void PackBlock(const float* scaled, uint8_t* codes, int64_t bytes) {
  std::array<int32_t, kNf4Block> index{};
  for (int k = 0; k + 1 < kNf4Values; ++k) {
    const float midpoint = Nf4Midpoint(k);
    for (int64_t i = 0; i < kNf4Block; ++i) index[i] += scaled[i] > midpoint ? 1 : 0;
  }
  for (int64_t i = 0; i < bytes; ++i)
    codes[i] = static_cast<uint8_t>(index[2 * i] << 4 | index[2 * i + 1]);
}

// Quantises one block; returns its scale.
float QuantizeBlock(const float* values, int64_t count, uint8_t* codes) {
  const bool whole = count == kNf4Block;
  const float scale = Nf4Scale(whole ? LargestOfBlock(values) : LargestOf(values, count), whole);
  std::array<float, kNf4Block> scaled{};
  for (int64_t i = 0; i < count; ++i) scaled[i] = Nf4Scaled(values[i], scale, whole);
  PackBlock(scaled.data(), codes, CeilDiv(count, 2));
  return scale;
}

// Writes `count` values as float32, rounded to `dtype` first: transformers loads the weight in the
// compute dtype before bitsandbytes sees it.
template <typename T>
void RoundTo(at::ScalarType dtype, const T* values, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = static_cast<float>(values[i]);
  if (dtype == at::kBFloat16) {
    for (int64_t i = 0; i < count; ++i) out[i] = static_cast<float>(at::BFloat16(out[i]));
  } else if (dtype == at::kHalf) {
    for (int64_t i = 0; i < count; ++i) out[i] = static_cast<float>(at::Half(out[i]));
  }
}

// Quantises the blocks of a matrix on the CPU; scales [blocks] float32.
void QuantizeBlocks(const at::Tensor& weight, at::ScalarType dtype, const at::Tensor& codes,
                    const at::Tensor& scales) {
  const int64_t count = weight.numel();
  auto* code = codes.mutable_data_ptr<uint8_t>();
  auto* scale = scales.mutable_data_ptr<float>();
  AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kBFloat16, at::kHalf, weight.scalar_type(), "QuantizeNf4", [&] {
        const auto* values = weight.const_data_ptr<scalar_t>();
        // Blocks are independent, so threads take any of them. A block has 64 elements and thus
        // whole bytes: no two threads write the same one.
        at::parallel_for(0, scales.numel(), kGrain, [&](int64_t begin, int64_t end) {
          std::array<float, kNf4Block> rounded{};
          for (int64_t block = begin; block < end; ++block) {
            const int64_t first = block * kNf4Block, length = std::min(kNf4Block, count - first);
            RoundTo(dtype, values + first, length, rounded.data());
            scale[block] = QuantizeBlock(rounded.data(), length, code + first / 2);
          }
        });
      });
}

// bitsandbytes finds the nearest entry of the map through a table over 65,536 steps of [-1, 1], so
// a value close to a midpoint may go to either side.
class MapSearch {
 public:
  explicit MapSearch(const float* map) : nearest_(kSteps) {
    int code = 0;
    // Both the steps and the map ascend, so one walk over the map fills the table.
    for (int i = 0; i < kSteps; ++i) {
      const float value = -1.0F + (2.0F * static_cast<float>(i)) / (kSteps - 1);
      while (code < 255 && 0.5F * (map[code] + map[code + 1]) < value) ++code;
      nearest_[i] = static_cast<uint8_t>(code);
    }
  }

  uint8_t operator()(float value) const {
    if (std::isnan(value)) return nearest_[0];  // 0 · ∞: a block of denormals
    const float step = (std::clamp(value, -1.0F, 1.0F) + 1.0F) * 0.5F * (kSteps - 1) + 0.5F;
    return nearest_[static_cast<uint16_t>(step)];
  }

 private:
  static constexpr int kSteps = 65536;
  std::vector<uint8_t> nearest_;
};

// Quantises the scales c_b, less their mean, to 8 bits (bitsandbytes quantize_4bit with
// compress_statistics, blocks of 256):
//   absmax_b = nearest entry of the map to (c_b − mean) / max |c − mean| of its nested block
// On one thread: there is one scale per 64 elements, so this is a small part of the work.
void QuantizeScales(const at::Tensor& scales, Nf4Tensor& out) {
  const at::Tensor mean = scales.mean();
  const at::Tensor centred = scales - mean;
  const int64_t count = scales.numel(), blocks = CeilDiv(count, kNf4NestedBlock);
  out.nested_offset = mean.item<float>();
  out.nested_map = DynamicMap();
  out.absmax = at::empty({count}, at::TensorOptions(at::kByte));
  out.nested_absmax = at::empty({blocks}, at::TensorOptions(at::kFloat));
  const MapSearch search(out.nested_map.const_data_ptr<float>());
  const float* values = centred.const_data_ptr<float>();
  auto* codes = out.absmax.mutable_data_ptr<uint8_t>();
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t begin = block * kNf4NestedBlock, end = std::min(begin + kNf4NestedBlock, count);
    const float largest = LargestOf(values + begin, end - begin);
    // A product with the reciprocal, and not a division: bitsandbytes multiplies, and it shows in
    // codes.
    const float reciprocal = 1.0F / largest;
    for (int64_t i = begin; i < end; ++i) {
      codes[i] = largest == 0 ? uint8_t{0} : search(values[i] * reciprocal);
    }
    out.nested_absmax.mutable_data_ptr<float>()[block] = largest;
  }
}

// Returns the scale of each block, float32: map[absmax] · nested_absmax + mean, each operation
// rounded by itself as in bitsandbytes.
at::Tensor Scales(const Nf4Tensor& q) {
  if (q.absmax.scalar_type() == at::kFloat) return q.absmax;
  const at::Tensor nested =
      q.nested_absmax.repeat_interleave(kNf4NestedBlock).narrow(0, 0, q.absmax.numel());
  return q.nested_map.index_select(0, q.absmax.to(at::kInt)).mul_(nested).add_(q.nested_offset);
}

// Expands one block. Its 16 possible values are scaled and rounded once each; then an element is a
// look-up. The product is float32 and is rounded once to T, as in bitsandbytes' kernels.
template <typename T>
void DequantizeBlock(const uint8_t* codes, int64_t count, float scale, T* out) {
  std::array<T, kNf4Values> values;
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<T>(kValues[i] * scale);
  for (int64_t i = 0; i + 1 < count; i += 2) {
    out[i] = values[codes[i / 2] >> 4];
    out[i + 1] = values[codes[i / 2] & 15];
  }
  if (count % 2 == 1) out[count - 1] = values[codes[count / 2] >> 4];
}

}  // namespace

at::Tensor DynamicMap() {
  std::vector<at::Tensor> parts = {at::tensor({0.0F, 1.0F})};
  // Each decade 10^(exponent − 6) has 2^exponent entries of each sign, at the middles of equal
  // parts of [0.1, 1]; with 0 and 1 that makes 256 (bitsandbytes create_dynamic_map). linspace in
  // float32, as there.
  for (int exponent = 0; exponent < 7; ++exponent) {
    const at::Tensor bounds =
        at::linspace(0.1, 1, (1 << exponent) + 1, at::TensorOptions(at::kFloat));
    const int64_t count = bounds.numel() - 1;
    const at::Tensor means = (bounds.narrow(0, 0, count) + bounds.narrow(0, 1, count)) / 2.0;
    const at::Tensor scaled = means * std::pow(10.0, exponent - 6);
    parts.push_back(scaled);
    parts.push_back(-scaled);
  }
  return std::get<0>(at::cat(parts).sort());
}

Nf4Tensor QuantizeNf4(const at::Tensor& weight, at::ScalarType dtype, c10::Device device) {
  const bool by_cuda = cuda::Serves(device);
  const int64_t count = weight.numel();
  const at::TensorOptions options(by_cuda ? device : c10::Device(c10::kCPU));
  Nf4Tensor q;
  q.rows = weight.size(0);
  q.cols = weight.size(1);
  q.codes = at::empty({CeilDiv(count, 2)}, options.dtype(at::kByte));
  const at::Tensor scales = at::empty({CeilDiv(count, kNf4Block)}, options.dtype(at::kFloat));
  if (by_cuda) {
    cuda::QuantizeNf4Blocks(weight.to(device), dtype, q.codes, scales);
  } else {
    QuantizeBlocks(weight, dtype, q.codes, scales);
  }
  // On the CPU always: the last bit of the mean depends on the order of summation.
  QuantizeScales(scales.cpu(), q);
  for (at::Tensor* tensor : {&q.codes, &q.absmax, &q.nested_absmax, &q.nested_map})
    *tensor = tensor->to(device);
  return q;
}

void DequantizeNf4(const Nf4Tensor& q, const at::Tensor& out) {
  if (cuda::Serves(out.device())) return cuda::DequantizeNf4(q, out);
  if (!out.is_cpu()) return DequantizeNf4ByAten(q, out);
  const at::Tensor scales = Scales(q);
  const float* scale = scales.const_data_ptr<float>();
  const auto* codes = q.codes.const_data_ptr<uint8_t>();
  const int64_t count = q.rows * q.cols;
  AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kBFloat16, at::kHalf, out.scalar_type(), "DequantizeNf4", [&] {
        auto* values = out.mutable_data_ptr<scalar_t>();
        at::parallel_for(0, scales.numel(), kGrain, [&](int64_t begin, int64_t end) {
          for (int64_t block = begin; block < end; ++block) {
            const int64_t first = block * kNf4Block;
            DequantizeBlock(codes + first / 2, std::min(kNf4Block, count - first), scale[block],
                            values + first);
          }
        });
      });
}

void DequantizeNf4ByAten(const Nf4Tensor& q, const at::Tensor& out) {
  const int64_t count = q.rows * q.cols;
  // The high half first: elements 2i and 2i + 1 are side by side in [bytes, 2]. An odd count leaves
  // one half over, which narrow drops.
  const at::Tensor halves = at::stack({q.codes.__rshift__(4), q.codes.__and__(15)}, 1);
  const at::Tensor table =
      at::tensor(at::ArrayRef<float>(kValues.data(), kValues.size())).to(out.device());
  const at::Tensor values =
      table.index_select(0, halves.view({-1}).narrow(0, 0, count).to(at::kInt));
  const at::Tensor scales = Scales(q).repeat_interleave(kNf4Block).narrow(0, 0, count);
  out.copy_((values * scales).view({q.rows, q.cols}));
}

}  // namespace ftd::engine
