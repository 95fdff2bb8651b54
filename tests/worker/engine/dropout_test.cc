// Dropout's masks: the generator against PyTorch's own, what share they drop, and that no two have
// anything to do with each other.
#include "worker/engine/ops/dropout/dropout.h"

#include <ATen/ATen.h>
#include <ATen/core/PhiloxRNGEngine.h>

#include <cmath>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace ftd::engine {
namespace {

constexpr int64_t kElements = 1 << 20;

// Which of kElements ones a mask keeps, as 0 and 1.
at::Tensor Kept(const DropoutMask& mask) {
  return Dropped(at::ones({kElements}), mask).gt(0).to(at::kDouble);
}

// at::philox_engine counts groups of four by its offset and puts the subsequence above it.
uint32_t PyTorchsNumber(const DropoutMask& mask, int64_t element) {
  at::philox_engine engine(mask.seed, uint64_t{mask.map} << 32 | mask.part,
                           static_cast<uint64_t>(element / 4));
  uint32_t number = engine();
  for (int64_t i = 0; i < element % 4; ++i) number = engine();
  return number;
}

TEST(DropoutTest, PhiloxPassesTheKnownAnswers) {
  // Random123's tests/kat_vectors, philox4x32 of 10 rounds.
  const PhiloxNumbers zeros = Philox({{0, 0, 0, 0}}, 0);
  EXPECT_EQ(zeros.x[0], 0x6627E8D5U);
  EXPECT_EQ(zeros.x[3], 0x9B00DBD8U);
  const PhiloxNumbers pi =
      Philox({{0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344}}, 0x299F31D0A4093822);
  EXPECT_EQ(pi.x[0], 0xD16CFE09U);
  EXPECT_EQ(pi.x[1], 0x94FDCCEBU);
  EXPECT_EQ(pi.x[2], 0x5001E420U);
  EXPECT_EQ(pi.x[3], 0x24126EA1U);
}

TEST(DropoutTest, EachElementIsDroppedByPyTorchsNumber) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 20; ++round) {
    const double p = 0.05 * round;
    const Dropout dropout{p, random(), static_cast<uint32_t>(random())};
    const DropoutMask mask = dropout.Mask(random() % 3);
    const auto count = static_cast<int64_t>(random() % 5000 + 1);
    const at::Tensor x = at::randn({count}), y = Dropped(x, mask);
    for (int64_t i = 0; i < count; ++i) {
      const bool kept = PyTorchsNumber(mask, i) >= p * 4294967296.0;
      EXPECT_EQ(y[i].item<float>(), kept ? x[i].item<float>() * static_cast<float>(1 / (1 - p)) : 0)
          << i << " of " << count << " at " << p;
    }
  }
}

TEST(DropoutTest, DropsTheShareThatWasAskedFor) {
  for (const double p : {0.0, 1e-3, 0.05, 0.1, 0.5, 0.9, 0.999}) {
    for (const uint64_t seed : {0ULL, 1ULL, 0xFFFFFFFFFFFFFFFFULL}) {
      const double dropped = 1 - Kept(Dropout{p, seed, 5}.Mask(1)).mean().item<double>();
      // Five standard deviations of a fair draw.
      EXPECT_NEAR(dropped, p, 5 * std::sqrt(p * (1 - p) / kElements)) << p << " " << seed;
    }
  }
}

double Correlation(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a - a.mean(), y = b - b.mean();
  return ((x * y).sum() / (x.norm() * y.norm())).item<double>();
}

TEST(DropoutTest, MasksOfOtherSeedsMapsAndPartsAreIndependent) {
  std::vector<at::Tensor> masks;
  for (const uint64_t seed : {41ULL, 42ULL, 41ULL << 32}) {
    for (const uint32_t map : {0U, 1U, 127U}) {
      for (const size_t part : {0, 1, 2}) masks.push_back(Kept(Dropout{0.3, seed, map}.Mask(part)));
    }
  }
  const double most = 5 / std::sqrt(static_cast<double>(kElements));  // five standard deviations
  for (size_t a = 0; a < masks.size(); ++a) {
    for (size_t b = 0; b < a; ++b)
      EXPECT_LT(std::abs(Correlation(masks[a], masks[b])), most) << a << " " << b;
    // Nor is an element's fate that of its neighbours.
    for (const int64_t distance : {1, 2, 3, 4, 5, 4096}) {
      const int64_t count = kElements - distance;
      EXPECT_LT(
          std::abs(Correlation(masks[a].narrow(0, 0, count), masks[a].narrow(0, distance, count))),
          most)
          << a << " at " << distance;
    }
  }
}

TEST(DropoutTest, ShortDtypesAreRoundedOnceAndAddedAfterwards) {
  const DropoutMask mask = Dropout{0.4, 3, 9}.Mask(0);
  for (const at::ScalarType dtype : {at::kBFloat16, at::kHalf, at::kFloat}) {
    const at::Tensor x = at::randn({37, 51}).to(dtype), sum = at::randn({37, 51}).to(dtype);
    const at::Tensor factors = Dropped(at::ones({37, 51}), mask);
    const at::Tensor expected = (x.to(at::kFloat) * factors).to(dtype);
    EXPECT_TRUE(at::equal(Dropped(x, mask), expected));
    at::Tensor total = sum.clone();
    AddDropped(total, x, mask);
    EXPECT_TRUE(at::equal(total, sum + expected));
  }
}

}  // namespace
}  // namespace ftd::engine
