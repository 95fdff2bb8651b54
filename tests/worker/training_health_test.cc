#include "worker/run/training_health.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

namespace ftd {
namespace {

using testing::HasSubstr;

constexpr int64_t kVocab = 49152;  // an even guess has a loss of 10.8

v1::StepMetrics Step(int64_t number, double loss, double grad_norm = 0.5) {
  v1::StepMetrics step;
  step.set_step(number);
  step.set_loss(loss);
  step.set_grad_norm(grad_norm);
  step.set_grad_clip_ratio(std::min(1.0, 1 / grad_norm));
  return step;
}

// The step of the first sentence; 0: there is none.
int64_t FirstTold(const std::vector<double>& losses, int64_t planned = 1000) {
  DivergenceWatch watch(kVocab, planned);
  for (size_t i = 0; i < losses.size(); ++i)
    if (watch.Add(Step(static_cast<int64_t>(i) + 1, losses[i]))) return static_cast<int64_t>(i) + 1;
  return 0;
}

TEST(DivergenceWatch, ALossThatExplodesIsToldAfterFiveSteps) {
  EXPECT_EQ(FirstTold({3, 2.9, 40, 300, 4201, 900, 700}), 7);
  EXPECT_EQ(FirstTold({3, 2.9, 40, 300, 4201, 900}), 0);
  EXPECT_EQ(FirstTold({3, 2.9, 40, 300, 2.8, 900, 700, 80, 90}), 0) << "one was inside";
}

TEST(DivergenceWatch, AlsoWhenItExplodesAtOnce) {
  EXPECT_EQ(FirstTold({3, 12, 13, 12, 12, 12}), 6);
}

TEST(DivergenceWatch, AShortRunIsJudgedSooner) {
  EXPECT_EQ(FirstTold({3, 20, 400, 4201}, 4), 3);
  EXPECT_EQ(FirstTold({3, 20, 400, 4201}, 12), 4);
}

TEST(DivergenceWatch, ASlowClimbIsTold) {
  std::vector<double> losses(50, 1.2);
  for (int i = 0; i < 100; ++i) losses.push_back(std::min(1.2 + 0.05 * i, 3.0));
  const int64_t told = FirstTold(losses);
  EXPECT_GT(told, 60);
  EXPECT_LT(told, 110);
}

TEST(DivergenceWatch, ARateThatIsTooHighFromTheStartIsTold) {
  std::vector<double> losses = {3, 3.1, 2.9};
  losses.insert(losses.end(), 100, 8);
  EXPECT_GT(FirstTold(losses), 0);
}

TEST(DivergenceWatch, ALossThatStaysHighIsToldThoughItIsFarFromAGuess) {
  std::vector<double> losses(30, 2.0);
  losses.insert(losses.end(), 20, 5.0);
  EXPECT_EQ(FirstTold(losses), 35);
}

// Losses of single rows vary by their nature: here by a factor of 1.8 from one to the next.
TEST(DivergenceWatch, NoiseIsNotToldOf) {
  for (int seed = 0; seed < 200; ++seed) {
    std::mt19937 random(static_cast<unsigned>(seed));
    std::lognormal_distribution<double> noise(0, 0.6);
    std::vector<double> losses(2000);
    for (size_t i = 0; i < losses.size(); ++i)
      losses[i] = (0.3 + 2 * std::exp(-static_cast<double>(i) / 200)) * noise(random);
    EXPECT_EQ(FirstTold(losses), 0) << "seed " << seed;
  }
}

TEST(DivergenceWatch, AModelWithRandomWeightsBeginsAtAnEvenGuess) {
  std::vector<double> losses(200);
  for (size_t i = 0; i < losses.size(); ++i) losses[i] = 11.5 - 0.02 * static_cast<double>(i);
  EXPECT_EQ(FirstTold(losses), 0);
}

TEST(DivergenceWatch, AMemorisedSetHasRoom) {
  std::vector<double> losses(100, 0.001);
  losses.insert(losses.end(), 20, 0.3);
  EXPECT_EQ(FirstTold(losses), 0);
}

TEST(DivergenceWatch, GradientsCountOnceTheyAreClipped) {
  const auto told = [](double norm) {
    DivergenceWatch watch(kVocab, 1000);
    std::optional<std::string> sentence;
    for (int64_t i = 1; i <= 40; ++i) sentence = watch.Add(Step(i, 2, i <= 35 ? 0.01 : norm));
    return sentence;
  };
  EXPECT_THAT(told(7).value_or(""), HasSubstr("grad_norm is 7 at step 40"));
  EXPECT_EQ(told(0.9), std::nullopt);
}

TEST(DivergenceWatch, TheStepBeforeTheFirstBadOneIsKnown) {
  DivergenceWatch watch(kVocab, 1000);
  for (int64_t i = 1; i <= 17; ++i) watch.Add(Step(i, 2));
  for (int64_t i = 18; i <= 30; ++i) watch.Add(Step(i, 50));
  EXPECT_EQ(watch.last_good_step(), 17);
}

std::vector<v1::Evaluation> Evaluations(const std::vector<double>& losses) {
  std::vector<v1::Evaluation> evaluations;
  for (const double loss : losses) {
    auto& evaluation = evaluations.emplace_back();
    evaluation.set_step(10 * static_cast<int64_t>(evaluations.size()));
    evaluation.set_loss(loss);
  }
  return evaluations;
}

// As transformers' EarlyStoppingCallback counts; tests/e2e compares a whole run with it.
TEST(EvaluationsWithoutGain, Counts) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(EvaluationsWithoutGain({}), 0);
  EXPECT_EQ(EvaluationsWithoutGain(Evaluations({3})), 0);
  EXPECT_EQ(EvaluationsWithoutGain(Evaluations({3, 2, 2})), 1);
  EXPECT_EQ(EvaluationsWithoutGain(Evaluations({3, 2, 4, 3, 2.5})), 3);
  EXPECT_EQ(EvaluationsWithoutGain(Evaluations({3, 2, 4, 1.9})), 0);
  EXPECT_EQ(EvaluationsWithoutGain(Evaluations({3, nan, nan, 3.1})), 3);
}

TEST(LearnsByHeart, WhenEvaluationsRiseAndTheLossFalls) {
  const auto told = [](const std::vector<double>& evaluations, double slope) {
    RunHistory history{.evaluations = Evaluations(evaluations)};
    for (int64_t i = 1; i <= 10 * static_cast<int64_t>(evaluations.size()); ++i)
      history.steps.push_back(Step(i, 2 + slope * static_cast<double>(i)));
    return LearnsByHeart(history);
  };
  EXPECT_THAT(told({3, 2, 2.1, 2.2, 2.3}, -0.01).value_or(""),
              HasSubstr("2 at step 20, 2.3 at step 50"));
  EXPECT_NE(told({2, 2.1, 2.2, 2.3}, -0.01), std::nullopt);
  EXPECT_EQ(told({2, 2.1, 2.2}, -0.01), std::nullopt);
  EXPECT_EQ(told({3, 2, 2.1, 2.05, 2.3}, -0.01), std::nullopt);
  EXPECT_EQ(told({3, 2, 2.1, 2.2, 2.3}, 0.01), std::nullopt) << "both rise: it is something else";
}

}  // namespace
}  // namespace ftd
