// The CUDA kernels of NF4 and the loss against the CPU's and against the definitions in float64.

#include <ATen/ATen.h>

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "lib/base/ceil_div.h"
#include "tests/worker/engine/kernel_checks.h"
#include "worker/engine/device/kernel_call.h"
#include "worker/engine/ops/dropout/dropout_cuda.h"
#include "worker/engine/ops/glu/glu_cuda.h"
#include "worker/engine/ops/loss/loss.h"
#include "worker/engine/ops/loss/loss_cuda.h"
#include "worker/engine/ops/nf4/nf4.h"
#include "worker/engine/ops/nf4/nf4_cuda.h"
#include "worker/engine/ops/norm/norm_cuda.h"
#include "worker/engine/ops/rope/rope_cuda.h"

namespace ftd::engine {
namespace {

constexpr int64_t kNf4Block = 64;

// Shapes around the sizes of NF4's blocks, [rows, columns].
const std::pair<int64_t, int64_t> kMatrices[] = {{64, 64}, {1, 1},    {1, 2},    {3, 5},
                                                 {1, 63},  {1, 65},   {7, 64},   {33, 66},
                                                 {55, 65}, {257, 64}, {100, 96}, {48, 176}};

// Ways to fill a matrix.
std::vector<std::pair<std::string, at::Tensor>> Fillings(int64_t rows, int64_t cols) {
  const at::Tensor normal = at::randn({rows, cols});
  at::Tensor outlier = normal * 1e-3;
  outlier.view({-1})[rows * cols / 2] = 6e4;
  const at::Tensor kept = at::rand({rows, 1}).lt(0.3);  // blocks that are all zero beside others
  const at::Tensor sizes = at::exp2(at::randint(-30, 15, {rows, 1}).to(at::kFloat));
  // Values on the codes and half-way between them.
  const at::Tensor grid = at::round(at::rand({rows, cols}) * 15) / 15;
  return {{"normal", normal},
          {"weights", normal * 0.02},
          {"zeros", at::zeros({rows, cols})},
          {"outlier", outlier},
          {"sparse", normal * kept},
          {"spread", normal * sizes},
          {"grid", grid},
          {"denormal", normal * 1e-41},
          {"tiny", normal * 1e-37},
          {"negative", -at::ones({rows, cols})}};
}

// The largest of each block; that of a last, shorter one has a floor.
at::Tensor BlockScales(const at::Tensor& weight) {
  const int64_t count = weight.numel(), blocks = CeilDiv(count, kNf4Block);
  const at::Tensor sizes = weight.to(at::kFloat).flatten().abs();
  at::Tensor scales =
      at::constant_pad_nd(sizes, {0, blocks * kNf4Block - count}).view({blocks, kNf4Block}).amax(1);
  if (count % kNf4Block != 0) scales.narrow(0, blocks - 1, 1).clamp_min_(1e-38F);
  return scales;
}

TEST_F(CudaKernelsTest, Nf4CodesAreTheCpus) {
  for (const auto& [rows, cols] : kMatrices) {
    for (const auto& [name, values] : Fillings(rows, cols)) {
      for (const at::ScalarType dtype : kDtypes) {
        for (const at::ScalarType rounding : kDtypes) {
          SCOPED_TRACE(name + " " + std::to_string(rows) + "x" + std::to_string(cols) + " " +
                       c10::toString(dtype) + " as " + c10::toString(rounding));
          const at::Tensor weight = values.to(dtype);
          const at::Tensor codes = QuantizeNf4(weight, rounding).codes;
          const at::Tensor scales = BlockScales(weight.to(rounding));
          const at::Tensor device_codes = OnKernelDevice(at::full_like(codes, 0xEE));
          const at::Tensor device_scales = OnKernelDevice(at::full_like(scales, -1));
          cuda::QuantizeNf4Blocks(OnKernelDevice(weight), rounding, device_codes, device_scales);
          EXPECT_TRUE(SameBytes(device_codes.cpu(), codes));
          EXPECT_TRUE(SameBytes(device_scales.cpu(), scales));
        }
      }
    }
  }
}

TEST_F(CudaKernelsTest, DequantisedValuesAreTheCpus) {
  for (const auto& [rows, cols] : kMatrices) {
    for (const auto& [name, values] : Fillings(rows, cols)) {
      const Nf4Tensor nested = QuantizeNf4(values, at::kFloat);
      Nf4Tensor plain = nested;  // scales that are not quantised again
      plain.absmax = at::rand({nested.absmax.numel()});
      for (const Nf4Tensor& q : {nested, plain}) {
        Nf4Tensor device = q;
        for (at::Tensor* part :
             {&device.codes, &device.absmax, &device.nested_absmax, &device.nested_map})
          *part = OnKernelDevice(*part);
        for (const at::ScalarType dtype : kDtypes) {
          SCOPED_TRACE(name + " " + std::to_string(rows) + "x" + std::to_string(cols) + " " +
                       c10::toString(dtype));
          const at::Tensor host = at::empty({rows, cols}, dtype);
          DequantizeNf4(q, host);
          const int64_t count = host.numel();
          for (const int64_t offset : {0, 1}) {  // with 1 no vector fits
            const at::Tensor room = RunKernel([&] {
              at::Tensor room = OnKernelDevice(at::full({count + 9}, 7, dtype));
              cuda::DequantizeNf4(device, room.narrow(0, offset, count).view(host.sizes()));
              return std::vector<at::Tensor>{room};
            })[0];
            EXPECT_TRUE(SameBytes(room.narrow(0, offset, count).view(host.sizes()), host));
            EXPECT_TRUE(room.narrow(0, count + offset, 9 - offset).eq(7).all().item<bool>())
                << "written past the end";
          }
        }
      }
    }
  }
}

struct Tile {
  at::Tensor gradient;  // [S, V], in the logits' dtype
  at::Tensor sums;      // [3] float64: −log p(target), entropy, correct
};

Tile TileOf(const at::Tensor& logits, const at::Tensor& targets, double smoothing = 0) {
  const std::vector<at::Tensor> results = RunKernel([&] {
    const at::Tensor tile = OnKernelDevice(logits);
    const at::Tensor sums = cuda::CrossEntropyInPlace(tile, OnKernelDevice(targets), smoothing);
    return std::vector<at::Tensor>{tile, sums};
  });
  return {results[0], results[1]};
}

// The largest difference of the gradient that rounding to `dtype` explains.
double GradientTolerance(at::ScalarType dtype) {
  return dtype == at::kFloat ? 1e-6 : dtype == at::kHalf ? 6e-4 : 4.5e-3;
}

// logits [S, V] of any dtype, on the CPU, against the definitions and ATen's twin.
void CheckTile(const at::Tensor& logits, const at::Tensor& targets, double smoothing = 0) {
  const int64_t S = logits.size(0), V = logits.size(1);
  const at::Tensor log_p = at::log_softmax(logits.to(at::kDouble), 1), p = log_p.exp();
  const double nll = -log_p.gather(1, targets.unsqueeze(1)).sum().item<double>();
  const double entropy = -at::nan_to_num(p * log_p, 0.0).sum().item<double>();
  const at::Tensor gradient = p - at::one_hot(targets, V).to(at::kDouble) * (1 - smoothing) -
                              smoothing / static_cast<double>(V);
  const Tile tile = TileOf(logits, targets, smoothing);
  at::Tensor twin = logits.to(at::kFloat);
  const LossSums expected = OnHost(CrossEntropyByAten(twin, targets), S);
  EXPECT_NEAR(tile.sums[0].item<double>(), nll, 1e-6 * nll + 2e-6 * static_cast<double>(S));
  EXPECT_NEAR(tile.sums[1].item<double>(), entropy, 1e-5 * static_cast<double>(S));
  EXPECT_EQ(tile.sums[2].item<double>(), static_cast<double>(expected.correct));
  EXPECT_EQ(tile.gradient.scalar_type(), logits.scalar_type());
  const at::Tensor difference = tile.gradient.to(at::kDouble) - gradient;
  EXPECT_LE(difference.abs().max().item<double>(), GradientTolerance(logits.scalar_type()));
}

TEST_F(CudaKernelsTest, LossTileEqualsTheDefinitions) {
  // Vocabularies around the widths of packets, warps and blocks, and real ones.
  for (const int64_t V : {1, 2, 3, 7, 8, 9, 33, 4095, 4096, 4097, 32003, 49152, 128256, 151936}) {
    for (const double spread : {0.0, 0.01, 1.0, 10.0, 100.0}) {
      for (const at::ScalarType dtype : kDtypes) {
        SCOPED_TRACE(std::to_string(V) + " entries, spread " + std::to_string(spread) + ", " +
                     c10::toString(dtype));
        const at::Tensor logits = (at::randn({3, V}) * spread).to(dtype);
        at::Tensor targets = at::randint(V, {3}, at::kLong);
        targets[0] = logits[0].to(at::kFloat).argmax();
        CheckTile(logits, targets);
        if (spread == 1) CheckTile(logits, targets, 0.3);
      }
    }
  }
}

TEST_F(CudaKernelsTest, OfEquallyLikelyTokensTheFirstCounts) {
  for (const at::ScalarType dtype : kDtypes) {
    at::Tensor logits = at::zeros({4, 5000}, dtype);
    for (const int64_t at : {17, 18, 4321}) logits.select(1, at).fill_(3);
    const at::Tensor targets = at::tensor({17, 18, 4321, 0}, at::kLong);
    EXPECT_EQ(TileOf(logits, targets).sums[2].item<double>(), 1);
  }
}

TEST_F(CudaKernelsTest, MinusInfinityCountsForNothing) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const at::ScalarType dtype : kDtypes) {
    at::Tensor logits = at::randn({5, 1003}).to(dtype);
    logits.narrow(1, 100, 700).fill_(-infinity);
    logits[0].fill_(-infinity);
    logits[0][3] = 1;
    CheckTile(logits, at::tensor({3, 99, 800, 0, 1002}, at::kLong));
  }
}

TEST_F(CudaKernelsTest, NotANumberIsSeen) {
  for (const at::ScalarType dtype : kDtypes) {
    at::Tensor logits = at::randn({2, 1000}).to(dtype);
    logits[1][777] = std::numeric_limits<double>::quiet_NaN();
    EXPECT_TRUE(TileOf(logits, at::zeros({2}, at::kLong)).sums[0].isnan().item<bool>());
  }
}

}  // namespace
}  // namespace ftd::engine
