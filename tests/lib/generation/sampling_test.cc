#include "lib/generation/sampling.h"

#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "lib/base/error.h"

namespace ftd {
namespace {

constexpr int kDraws = 40000;

// How often each token is the first that a seed draws, over many seeds.
std::vector<int> FirstDraws(const std::vector<float>& logits, SamplingOptions options) {
  std::vector<int> counts(logits.size());
  for (int i = 0; i < kDraws; ++i) {
    options.seed = static_cast<uint64_t>(i);
    std::vector<float> scratch = logits;
    ++counts[Sampler(options, {}).Next(scratch.data(), static_cast<int32_t>(scratch.size()))];
  }
  return counts;
}

// How often each token is drawn by one sampler, one draw after another.
std::vector<int> DrawsInTurn(const std::vector<float>& logits, const SamplingOptions& options) {
  std::vector<int> counts(logits.size());
  Sampler sampler(options, {});
  for (int i = 0; i < kDraws; ++i) {
    std::vector<float> scratch = logits;
    ++counts[sampler.Next(scratch.data(), static_cast<int32_t>(scratch.size()))];
  }
  return counts;
}

// Pearson's chi-square of counts against probabilities; infinite where what is impossible was
// drawn.
double ChiSquare(const std::vector<int>& counts, const std::vector<double>& probabilities) {
  double sum = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    const double expected = probabilities[i] * kDraws;
    if (expected == 0) {
      if (counts[i] > 0) return std::numeric_limits<double>::infinity();
      continue;
    }
    sum += (counts[i] - expected) * (counts[i] - expected) / expected;
  }
  return sum;
}

std::vector<double> Softmax(const std::vector<double>& scores) {
  std::vector<double> p = scores;
  for (double& one : p) one = std::exp(one);
  const double total = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& one : p) one /= total;
  return p;
}

// Probabilities 0.4, 0.3, 0.15, 0.1, 0.05 of tokens 2, 0, 4, 1, 3.
const std::vector<double> kShares = {0.3, 0.1, 0.4, 0.05, 0.15};

std::vector<float> Logits() {
  std::vector<float> logits(kShares.begin(), kShares.end());
  for (float& logit : logits) logit = std::log(logit) + 7;
  return logits;
}

struct Case {
  std::string name;
  SamplingOptions options;
  std::vector<double> expected;
};

// Worked out by hand from the definitions of transformers' warpers.
std::vector<Case> Cases() {
  const auto of = [](const std::vector<double>& shares) {
    const double total = std::accumulate(shares.begin(), shares.end(), 0.0);
    std::vector<double> p = shares;
    for (double& one : p) one /= total;
    return p;
  };
  const auto squared = of({0.09, 0.01, 0.16, 0.0025, 0.0225});
  return {
      {"plain", {.temperature = 1}, kShares},
      {"cold", {.temperature = 0.5}, squared},
      {"two likeliest", {.temperature = 1, .top_k = 2}, of({0.3, 0, 0.4, 0, 0})},
      {"more than there are", {.temperature = 1, .top_k = 9}, kShares},
      // The third is taken because 0.7 is less than 0.75.
      {"top-p", {.temperature = 1, .top_p = 0.75}, of({0.3, 0, 0.4, 0, 0.15})},
      {"top-p keeps one", {.temperature = 1, .top_p = 1e-9}, of({0, 0, 1, 0, 0})},
      {"min-p", {.temperature = 1, .min_p = 0.3}, of({0.3, 0, 0.4, 0, 0.15})},
      {"min-p keeps one", {.temperature = 1, .min_p = 1}, of({0, 0, 1, 0, 0})},
      // Top-p sees what the temperature and top-k have left: of 0.4, 0.3, 0.15 shares of 0.47,
      // 0.82.
      {"top-k, then top-p", {.temperature = 1, .top_k = 3, .top_p = 0.8}, of({0.3, 0, 0.4, 0, 0})},
      {"cold, then top-p", {.temperature = 0.5, .top_p = 0.85}, of({0.09, 0, 0.16, 0, 0})},
  };
}

// The limit is the 99.999th percentile of chi-square with 4 degrees of freedom.
TEST(SamplerTest, DrawsHaveTheDistribution) {
  for (const Case& one : Cases()) {
    EXPECT_LT(ChiSquare(FirstDraws(Logits(), one.options), one.expected), 28.5) << one.name;
    EXPECT_LT(ChiSquare(DrawsInTurn(Logits(), one.options), one.expected), 28.5) << one.name;
  }
  EXPECT_GT(ChiSquare(FirstDraws(Logits(), {.temperature = 0.9}), kShares), 28.5);
}

TEST(SamplerTest, RepetitionPenaltyDividesWhatIsAboveZeroAndMultipliesTheRest) {
  // Tokens 0 and 2 are in the prompt, once or often: 2 → 2 / 1.5, −1 → −1 · 1.5.
  const std::vector<float> logits = {2, 0.5F, -1, 0};
  std::vector<int> counts(4);
  SamplingOptions options{.temperature = 1, .repetition_penalty = 1.5};
  for (int i = 0; i < kDraws; ++i) {
    options.seed = static_cast<uint64_t>(i);
    std::vector<float> scratch = logits;
    ++counts[Sampler(options, {2, 0, 2}).Next(scratch.data(), 4)];
  }
  EXPECT_LT(ChiSquare(counts, Softmax({2 / 1.5, 0.5, -1.5, 0})), 28.5);
}

TEST(SamplerTest, GreedyTakesTheLikeliestAndCountsItsOwnTokensAsRepeated) {
  Sampler greedy({}, {});
  Sampler penalised({.repetition_penalty = 1.2}, {});
  std::vector<int32_t> by_greedy, by_penalised;
  for (int i = 0; i < 3; ++i) {
    std::vector<float> a = {1, 3, 2.9F, 3}, b = {1, 3, 2.9F, 0};
    by_greedy.push_back(greedy.Next(a.data(), 4));
    by_penalised.push_back(penalised.Next(b.data(), 4));
  }
  EXPECT_EQ(by_greedy, (std::vector<int32_t>{1, 1, 1}));  // the first of equals
  EXPECT_EQ(by_penalised, (std::vector<int32_t>{1, 2, 1}));
}

TEST(SamplerTest, TokensThatTieWithTheKthStay) {
  SamplingOptions options{.temperature = 1, .top_k = 2};
  const auto counts = FirstDraws({1, 2, 1, 0}, options);
  EXPECT_LT(ChiSquare(counts, Softmax({1, 2, 1, -INFINITY})), 28.5);
}

TEST(SamplerTest, ASeedGivesTheSameTokensAndAnotherGivesOthers) {
  const auto draw = [](uint64_t seed) {
    Sampler sampler({.temperature = 1, .seed = seed}, {});
    std::vector<int32_t> tokens;
    for (int i = 0; i < 40; ++i) {
      std::vector<float> logits = Logits();
      tokens.push_back(sampler.Next(logits.data(), 5));
    }
    return tokens;
  };
  EXPECT_EQ(draw(3), draw(3));
  EXPECT_NE(draw(3), draw(4));
}

TEST(SamplerTest, LogitsThatAreNotNumbersGiveNoToken) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  for (std::vector<float> logits :
       {std::vector<float>{nan, 1}, {1, nan}, {-infinity, -infinity}, {1, infinity}}) {
    EXPECT_EQ(Sampler({}, {}).Next(logits.data(), 2), -1);
  }
  std::vector<float> masked = {-infinity, 1};
  EXPECT_EQ(Sampler({.temperature = 1}, {}).Next(masked.data(), 2), 1);
}

TEST(JudgeSamplingTest, NamesEachFieldOutOfRange) {
  EXPECT_TRUE(JudgeSampling({}).ok());
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto status = JudgeSampling(
      {.temperature = -1, .top_k = -1, .top_p = 0, .min_p = nan, .repetition_penalty = 0});
  std::vector<std::string> fields;
  for (const FieldViolation& violation : ViolationsOf(status)) fields.push_back(violation.field);
  EXPECT_EQ(fields, (std::vector<std::string>{"temperature", "top_k", "top_p", "min_p",
                                              "repetition_penalty"}));
}

}  // namespace
}  // namespace ftd
