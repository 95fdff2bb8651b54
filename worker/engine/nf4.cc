#include "worker/engine/nf4.h"

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

#include "worker/engine/multiversion.h"

// Each product and sum below rounds by itself, as in bitsandbytes: this file is compiled without
// contraction to fused multiply-adds.

namespace ftd::engine {
namespace {

constexpr int64_t kBlock = 64, kNestedBlock = 256;
constexpr int64_t kGrain = 1024;  // blocks that a thread takes at a time

// Quantiles of the standard normal distribution, scaled to [-1, 1], with an exact zero.
constexpr std::array<float, 16> kValues = {
    -1.0F,
    -0.6961928009986877F,
    -0.5250730514526367F,
    -0.39491748809814453F,
    -0.28444138169288635F,
    -0.18477343022823334F,
    -0.09105003625154495F,
    0.0F,
    0.07958029955625534F,
    0.16093020141124725F,
    0.24611230194568634F,
    0.33791524171829224F,
    0.44070982933044434F,
    0.5626170039176941F,
    0.7229568362236023F,
    1.0F,
};

int64_t BlocksOf(int64_t elements, int64_t block) { return (elements + block - 1) / block; }

float LargestOf(const float* values, int64_t count) {
  float largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(values[i]));
  return largest;
}

// The same of a whole block, in running maxima that vectorise.
FTD_MULTIVERSION float LargestOfBlock(const float* values) {
  std::array<float, 16> largest{};
  for (int64_t i = 0; i < kBlock; i += 16) {
    for (int64_t j = 0; j < 16; ++j) {
      const float size = std::fabs(values[i + j]);
      largest[j] = size > largest[j] ? size : largest[j];
    }
  }
  return LargestOf(largest.data(), 16);
}

// Indices of the nearest values, two to a byte. An index is the number of midpoints below the
// scaled value.
FTD_MULTIVERSION void PackBlock(const float* scaled, uint8_t* codes, int64_t bytes) {
  std::array<int32_t, kBlock> index{};
  for (size_t k = 0; k + 1 < kValues.size(); ++k) {
    const float midpoint = (kValues[k] + kValues[k + 1]) / 2;
    for (int64_t i = 0; i < kBlock; ++i) index[i] += scaled[i] > midpoint ? 1 : 0;
  }
  for (int64_t i = 0; i < bytes; ++i)
    codes[i] = static_cast<uint8_t>(index[2 * i] << 4 | index[2 * i + 1]);
}

// Quantises one block; returns its scale. A whole block multiplies by the scale's reciprocal and
// keeps a scale of zero; a last, shorter one divides, and its scale has a floor. That is
// bitsandbytes' way, and shows in the last bit.
float QuantizeBlock(const float* values, int64_t count, uint8_t* codes) {
  constexpr float kLeast = 1e-38F;
  float scale = count == kBlock ? LargestOfBlock(values) : LargestOf(values, count);
  std::array<float, kBlock> scaled{};
  if (count == kBlock) {
    const float reciprocal = 1.0F / std::max(scale, kLeast);
    for (int64_t i = 0; i < kBlock; ++i) scaled[i] = values[i] * reciprocal;
  } else {
    scale = std::max(scale, kLeast);
    for (int64_t i = 0; i < count; ++i) scaled[i] = values[i] / scale;
  }
  PackBlock(scaled.data(), codes, BlocksOf(count, 2));
  return scale;
}

// `count` values as float32, rounded to `dtype`.
template <typename T>
void RoundTo(at::ScalarType dtype, const T* values, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = static_cast<float>(values[i]);
  if (dtype == at::kBFloat16) {
    for (int64_t i = 0; i < count; ++i) out[i] = static_cast<float>(at::BFloat16(out[i]));
  } else if (dtype == at::kHalf) {
    for (int64_t i = 0; i < count; ++i) out[i] = static_cast<float>(at::Half(out[i]));
  }
}

// bitsandbytes finds the nearest entry of the map through a table over 65,536 steps of [-1, 1], so
// a value close to a midpoint may go to either side.
class MapSearch {
 public:
  explicit MapSearch(const float* map) : nearest_(kSteps) {
    int code = 0;
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

// Quantises the scales, less their mean, to 8 bits.
void QuantizeScales(const at::Tensor& scales, Nf4Tensor& out) {
  const at::Tensor mean = scales.mean();
  const at::Tensor centred = scales - mean;
  const int64_t count = scales.numel(), blocks = BlocksOf(count, kNestedBlock);
  out.nested_offset = mean.item<float>();
  out.nested_map = DynamicMap();
  out.absmax = at::empty({count}, at::TensorOptions(at::kByte));
  out.nested_absmax = at::empty({blocks}, at::TensorOptions(at::kFloat));
  const MapSearch search(out.nested_map.const_data_ptr<float>());
  const float* values = centred.const_data_ptr<float>();
  auto* codes = out.absmax.mutable_data_ptr<uint8_t>();
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t begin = block * kNestedBlock, end = std::min(begin + kNestedBlock, count);
    const float largest = LargestOf(values + begin, end - begin);
    const float reciprocal = 1.0F / largest;
    for (int64_t i = begin; i < end; ++i) {
      codes[i] = largest == 0 ? uint8_t{0} : search(values[i] * reciprocal);
    }
    out.nested_absmax.mutable_data_ptr<float>()[block] = largest;
  }
}

// The scale of each block, float32.
at::Tensor Scales(const Nf4Tensor& q) {
  if (q.absmax.scalar_type() == at::kFloat) return q.absmax;
  const at::Tensor nested =
      q.nested_absmax.repeat_interleave(kNestedBlock).narrow(0, 0, q.absmax.numel());
  return q.nested_map.index_select(0, q.absmax.to(at::kInt)).mul_(nested).add_(q.nested_offset);
}

template <typename T>
void DequantizeBlock(const uint8_t* codes, int64_t count, float scale, T* out) {
  std::array<T, 16> values;
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

Nf4Tensor QuantizeNf4(const at::Tensor& weight, at::ScalarType dtype) {
  const int64_t count = weight.numel();
  Nf4Tensor q;
  q.rows = weight.size(0);
  q.cols = weight.size(1);
  q.codes = at::empty({BlocksOf(count, 2)}, at::TensorOptions(at::kByte));
  const at::Tensor scales = at::empty({BlocksOf(count, kBlock)}, at::TensorOptions(at::kFloat));
  auto* codes = q.codes.mutable_data_ptr<uint8_t>();
  auto* scale = scales.mutable_data_ptr<float>();
  AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kBFloat16, at::kHalf, weight.scalar_type(), "QuantizeNf4", [&] {
        const auto* values = weight.const_data_ptr<scalar_t>();
        at::parallel_for(0, scales.numel(), kGrain, [&](int64_t begin, int64_t end) {
          std::array<float, kBlock> rounded{};
          for (int64_t block = begin; block < end; ++block) {
            const int64_t first = block * kBlock, length = std::min(kBlock, count - first);
            RoundTo(dtype, values + first, length, rounded.data());
            scale[block] = QuantizeBlock(rounded.data(), length, codes + first / 2);
          }
        });
      });
  QuantizeScales(scales, q);
  return q;
}

void DequantizeNf4(const Nf4Tensor& q, const at::Tensor& out) {
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
            const int64_t first = block * kBlock;
            DequantizeBlock(codes + first / 2, std::min(kBlock, count - first), scale[block],
                            values + first);
          }
        });
      });
}

void DequantizeNf4ByAten(const Nf4Tensor& q, const at::Tensor& out) {
  const int64_t count = q.rows * q.cols;
  const at::Tensor halves = at::stack({q.codes.__rshift__(4), q.codes.__and__(15)}, 1);
  const at::Tensor table =
      at::tensor(at::ArrayRef<float>(kValues.data(), kValues.size())).to(out.device());
  const at::Tensor values =
      table.index_select(0, halves.view({-1}).narrow(0, 0, count).to(at::kInt));
  const at::Tensor scales = Scales(q).repeat_interleave(kBlock).narrow(0, 0, count);
  out.copy_((values * scales).view({q.rows, q.cols}));
}

}  // namespace ftd::engine
