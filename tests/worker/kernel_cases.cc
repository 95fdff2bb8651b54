#include "kernel_cases.h"

#include <ATen/ATen.h>

#include <limits>

#include "gtest/gtest.h"
#include "worker/engine/loss.h"

namespace ftd::engine {
namespace {

// The largest difference of the gradient that rounding to `dtype` explains.
double GradientTolerance(at::ScalarType dtype) {
  return dtype == at::kFloat ? 1e-6 : dtype == at::kHalf ? 6e-4 : 4.5e-3;
}

void CheckTile(const TileKernel& kernel, const at::Tensor& logits, const at::Tensor& targets) {
  const int64_t S = logits.size(0), V = logits.size(1);
  const at::Tensor log_p = at::log_softmax(logits.to(at::kDouble), 1), p = log_p.exp();
  const double nll = -log_p.gather(1, targets.unsqueeze(1)).sum().item<double>();
  const double entropy = -at::nan_to_num(p * log_p, 0.0).sum().item<double>();
  const at::Tensor gradient = p - at::one_hot(targets, V).to(at::kDouble);
  const Tile tile = kernel(logits, targets);
  at::Tensor twin = logits.to(at::kFloat);
  const LossSums expected = CrossEntropyByAten(twin, targets);
  EXPECT_NEAR(tile.sums[0].item<double>(), nll, 1e-6 * nll + 2e-6 * static_cast<double>(S));
  EXPECT_NEAR(tile.sums[1].item<double>(), entropy, 1e-5 * static_cast<double>(S));
  EXPECT_EQ(tile.sums[2].item<double>(), static_cast<double>(expected.correct));
  EXPECT_EQ(tile.gradient.scalar_type(), logits.scalar_type());
  const at::Tensor difference = tile.gradient.to(at::kDouble) - gradient;
  EXPECT_LE(difference.abs().max().item<double>(), GradientTolerance(logits.scalar_type()));
}

}  // namespace

const std::vector<std::pair<int64_t, int64_t>> kSmallMatrices = {
    {64, 64}, {1, 1},   {1, 2},    {3, 5},    {1, 63},   {1, 65},
    {7, 64},  {33, 66}, {255, 65}, {257, 64}, {100, 96}, {48, 176}};

const std::vector<int64_t> kVocabularies = {1,    2,    3,    7,     8,     9,      33,
                                            4095, 4096, 4097, 32003, 49152, 128256, 151936};

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

bool SameBytes(const at::Tensor& a, const at::Tensor& b) {
  return at::equal(a.cpu().contiguous().view(at::kByte), b.cpu().contiguous().view(at::kByte));
}

void TileEqualsTheDefinitions(const TileKernel& kernel, int64_t vocabulary) {
  for (const double spread : {0.0, 0.01, 1.0, 10.0, 100.0}) {
    for (const at::ScalarType dtype : kKernelDtypes) {
      SCOPED_TRACE(std::to_string(vocabulary) + " entries, spread " + std::to_string(spread) +
                   ", " + c10::toString(dtype));
      const int64_t S = 3;
      const at::Tensor logits = (at::randn({S, vocabulary}) * spread).to(dtype);
      at::Tensor targets = at::randint(vocabulary, {S}, at::kLong);
      targets[0] = logits[0].to(at::kFloat).argmax();
      CheckTile(kernel, logits, targets);
    }
  }
}

void OfEquallyLikelyTokensTheFirstCounts(const TileKernel& kernel) {
  for (const at::ScalarType dtype : kKernelDtypes) {
    at::Tensor logits = at::zeros({4, 5000}, dtype);
    for (const int64_t at : {17, 18, 4321}) logits.select(1, at).fill_(3);
    const at::Tensor targets = at::tensor({17, 18, 4321, 0}, at::kLong);
    EXPECT_EQ(kernel(logits, targets).sums[2].item<double>(), 1);
  }
}

void MinusInfinityCountsForNothing(const TileKernel& kernel) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const at::ScalarType dtype : kKernelDtypes) {
    at::Tensor logits = at::randn({5, 1003}).to(dtype);
    logits.narrow(1, 100, 700).fill_(-infinity);
    logits[0].fill_(-infinity);
    logits[0][3] = 1;
    CheckTile(kernel, logits, at::tensor({3, 99, 800, 0, 1002}, at::kLong));
  }
}

void NotANumberIsSeen(const TileKernel& kernel) {
  for (const at::ScalarType dtype : kKernelDtypes) {
    at::Tensor logits = at::randn({2, 1000}).to(dtype);
    logits[1][777] = std::numeric_limits<double>::quiet_NaN();
    const Tile tile = kernel(logits, at::zeros({2}, at::kLong));
    EXPECT_TRUE(tile.sums[0].isnan().item<bool>());
  }
}

}  // namespace ftd::engine
