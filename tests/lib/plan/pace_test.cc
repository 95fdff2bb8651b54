#include "lib/plan/pace.h"

#include <gtest/gtest.h>

#include <vector>

namespace ftd {
namespace {

PacedWork Work(const char* model, double flops, double tokens = 1000) {
  return {.model = model, .flops = flops, .tokens_in_step = tokens};
}

PastRun Ran(const char* model, double flops, double seconds, double tokens = 1000) {
  return {
      .work = Work(model, flops, tokens), .before_steps = 3, .steps = seconds, .after_steps = 1};
}

TEST(PaceTest, ByJobsOfTheSameShape) {
  // One at 10 operations a second, one at 8; 400 of them take 40 and 50 s, and 4 around them.
  const std::vector<PastRun> past = {Ran("a", 100, 10), Ran("b", 100, 1), Ran("a", 80, 10)};
  const auto range = EstimateTime(Work("a", 400), past, /*peak=*/0);
  ASSERT_TRUE(range.has_value());
  EXPECT_EQ(range->basis, PaceBasis::kSameShape);
  EXPECT_EQ(range->runs, 2);
  EXPECT_NEAR(range->low, 44 / 1.15, 1e-9);
  EXPECT_NEAR(range->high, 54 * 1.15, 1e-9);
}

TEST(PaceTest, PrefersStepsOfLikeSizeAndNewerJobs) {
  std::vector<PastRun> past = {Ran("a", 100, 1, 10), Ran("a", 100, 10, 900)};
  EXPECT_NEAR(EstimateTime(Work("a", 100), past, 0)->high, 14 * 1.15, 1e-9);
  past.pop_back();
  EXPECT_NEAR(EstimateTime(Work("a", 100), past, 0)->high, 5 * 1.5, 1e-9);
  past.assign(5, Ran("a", 100, 10));
  past.push_back(Ran("a", 100, 1000));  // too long ago
  EXPECT_EQ(EstimateTime(Work("a", 100), past, 0)->runs, 5);
  EXPECT_NEAR(EstimateTime(Work("a", 100), past, 0)->high, 14 * 1.15, 1e-9);
}

TEST(PaceTest, ByOtherJobsElseByThePeak) {
  std::vector<PastRun> past = {Ran("b", 100, 10)};
  const auto others = EstimateTime(Work("a", 100), past, 1000);
  EXPECT_EQ(others->basis, PaceBasis::kOtherJobs);
  EXPECT_NEAR(others->high, 14 * 3, 1e-9);
  past[0].work.dtype = Dtype::kBfloat16;
  const auto peak = EstimateTime(Work("a", 1e6), past, 1000);
  EXPECT_EQ(peak->basis, PaceBasis::kPeak);
  EXPECT_LT(peak->low, 1e6 / 1000 * 2);
  EXPECT_GT(peak->high, 1e6 / 1000 * 2);
  EXPECT_FALSE(EstimateTime(Work("a", 1e6), past, 0).has_value());
}

}  // namespace
}  // namespace ftd
