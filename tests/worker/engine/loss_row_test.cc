// The arithmetic that the GPU's loss tile does by the row, on the CPU: a row's entries dealt out to
// threads and merged as a block of threads does it, against the definitions in float64. The kernel
// itself is cuda_kernels_test.cc's.

#include "worker/engine/ops/loss/loss_row.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace ftd::engine::cuda {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Packets of `packet` entries go to the threads in turn, as in loss.cu; then each pair at a
// distance is merged, as lanes are.
SoftmaxSums OfRow(const std::vector<float>& row, size_t threads, size_t packet) {
  std::vector<SoftmaxSums> parts(threads);
  for (size_t first = 0; first < row.size(); first += packet) {
    SoftmaxSums& sums = parts[first / packet % threads];
    float largest = sums.max;
    for (size_t i = first; i < first + packet; ++i)
      largest = i < row.size() && row[i] > largest ? row[i] : largest;
    sums.Raise(largest);
    for (size_t i = first; i < first + packet; ++i) sums.Add(i < row.size() ? row[i] : -kInfinity);
  }
  for (size_t step = threads / 2; step > 0; step /= 2) {
    for (size_t i = 0; i < step; ++i) parts[i].Merge(parts[i + step]);
  }
  return parts[0];
}

std::vector<float> Values(const at::Tensor& row) {
  const float* data = row.const_data_ptr<float>();
  return {data, data + row.numel()};
}

TEST(LossRowTest, EqualsTheDefinitions) {
  for (const int64_t V : {1, 2, 7, 8, 9, 1000, 4099, 128256}) {
    for (const double spread : {0.0, 0.01, 1.0, 10.0, 300.0}) {
      SCOPED_TRACE(std::to_string(V) + " entries, spread " + std::to_string(spread));
      at::manual_seed(static_cast<uint64_t>(V));
      const at::Tensor logits = at::randn({V}) * spread - 40.0;
      const at::Tensor log_p = at::log_softmax(logits.to(at::kDouble), 0);
      const std::vector<float> row = Values(logits);
      const SoftmaxSums sums = OfRow(row, 512, 8);
      EXPECT_EQ(sums.max, logits.max().item<float>());
      EXPECT_NEAR(sums.Entropy(), -(log_p.exp() * log_p).sum().item<double>(), 1e-5);
      for (const int64_t target : {int64_t{0}, V / 2, V - 1}) {
        const double nll = -log_p[target].item<double>();
        EXPECT_NEAR(sums.Nll(row[target]), nll, 1e-6 * nll + 2e-6);
      }
    }
  }
}

TEST(LossRowTest, OneOutlierAnywhere) {
  for (const size_t at : {0, 5, 511 * 8, 4095}) {
    std::vector<float> row(4096, -3.0F);
    row[at] = 1e4F;
    const SoftmaxSums sums = OfRow(row, 512, 8);
    EXPECT_EQ(sums.Nll(1e4F), 0) << at;
    EXPECT_EQ(sums.Entropy(), 0) << at;
    EXPECT_FLOAT_EQ(sums.Nll(-3.0F), 10003) << at;
  }
}

TEST(LossRowTest, MinusInfinityCountsForNothing) {
  std::vector<float> row(1000, -kInfinity);
  row[3] = row[700] = 2;
  const SoftmaxSums sums = OfRow(row, 512, 8);
  EXPECT_FLOAT_EQ(sums.Nll(2), std::log(2.0F));
  EXPECT_FLOAT_EQ(sums.Entropy(), std::log(2.0F));
  EXPECT_EQ(sums.Nll(-kInfinity), kInfinity);
}

TEST(LossRowTest, WhatIsNoDistributionIsSeen) {
  const float nan = std::nanf("");
  std::vector<std::vector<float>> rows = {
      {nan, nan, nan}, {-kInfinity, -kInfinity}, {1, nan, 2}, {nan, 1}, {kInfinity, 1, 2}};
  rows.emplace_back(5000, 1.0F);
  rows.back()[4321] = nan;
  for (const std::vector<float>& row : rows) {
    for (const size_t threads : {1, 512})
      EXPECT_TRUE(std::isnan(OfRow(row, threads, 8).Nll(row[0]))) << row.size();
  }
}

}  // namespace
}  // namespace ftd::engine::cuda
