// Ids, page tokens, resume tokens, decimation: the small pure parts.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <set>

#include "lib/base/error.h"
#include "server/api/page_token.h"
#include "server/host/uploads.h"
#include "server/jobs/id.h"
#include "server/streams/resume_token.h"
#include "server/streams/steps_source.h"

namespace ftd {
namespace {

TEST(JobId, SortsByTimeAndNeverRepeats) {
  std::string last;
  for (int i = 0; i < 10000; ++i) {
    const std::string id = NewJobId();
    ASSERT_EQ(id.size(), 29u);
    ASSERT_EQ(id.substr(0, 3), "ft-");
    ASSERT_EQ(id.find_first_not_of("0123456789abcdefghjkmnpqrstvwxyz", 3), std::string::npos) << id;
    ASSERT_LT(last, id);
    last = id;
  }
}

TEST(ResumeToken, ComesBackForItsOwnJobOnly) {
  const WatchPosition position{
      .sequence = 7, .attempt = 3, .events_offset = 1 << 20, .rows = 12345};
  const std::string token = EncodeResumeToken("ft-a", position);
  const auto back = DecodeResumeToken("ft-a", token);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->sequence, 7);
  EXPECT_EQ(back->attempt, 3);
  EXPECT_EQ(back->events_offset, 1u << 20);
  EXPECT_EQ(back->rows, 12345);
  EXPECT_EQ(ReasonOf(DecodeResumeToken("ft-b", token).status()), Reason::kFieldInvalid);
}

TEST(ResumeToken, DamageIsRefused) {
  const std::string token = EncodeResumeToken("ft-a", {});
  std::mt19937 random(1);
  for (int i = 0; i < 2000; ++i) {
    std::string damaged = token;
    damaged.resize(random() % (token.size() + 1));
    for (char& c : damaged) {
      if (random() % 8 == 0) c = static_cast<char>(random());
    }
    const auto back = DecodeResumeToken("ft-a", damaged);
    if (back.ok()) {
      EXPECT_GE(back->attempt, 1);
      EXPECT_GE(back->rows, 0);
      EXPECT_GE(back->sequence, 0);
    }
  }
  for (const char* bad : {"x", "MS8", "////", "1/ft-a/1/1/1/1"})
    EXPECT_FALSE(DecodeResumeToken("ft-a", bad).ok()) << bad;
}

TEST(PageToken, BelongsToItsFilter) {
  const std::vector<JobState> states = {JobState::kQueued};
  EXPECT_EQ(*DecodePageToken(EncodePageToken(42, states), states), 42);
  EXPECT_EQ(*DecodePageToken("", states), std::numeric_limits<int64_t>::max());
  EXPECT_FALSE(DecodePageToken(EncodePageToken(42, {}), states).ok());
  EXPECT_FALSE(DecodePageToken("zzz", {}).ok());
}

TEST(Decimate, KeepsTheExtremesOfEveryStretchInOrder) {
  std::mt19937 random(3);
  std::vector<v1::StepMetrics> steps(1000);
  for (size_t i = 0; i < steps.size(); ++i) {
    steps[i].set_step(static_cast<int64_t>(i + 1));
    steps[i].set_loss(std::uniform_real_distribution<double>(1, 2)(random));
  }
  steps[333].set_loss(0.5);
  steps[700].set_loss(std::nan(""));
  for (const size_t points : {1, 2, 3, 10, 99, 999, 1000, 2000, 0}) {
    const auto kept = Decimate(steps, points);
    EXPECT_LE(kept.size(), points == 0 ? steps.size() : points);
    EXPECT_GE(kept.size(), points == 0 ? steps.size() : std::min(points, steps.size()) / 2);
    std::set<int64_t> numbers;
    for (const v1::StepMetrics& step : kept) {
      EXPECT_TRUE(numbers.empty() || step.step() > *numbers.rbegin()) << points;
      numbers.insert(step.step());
    }
    if (points != 1) {
      EXPECT_EQ(numbers.count(334), 1u) << points;
      EXPECT_EQ(numbers.count(701), 1u) << points;
    }
  }
}

TEST(Uploads, OnlyHashesAreNames) {
  EXPECT_TRUE(IsSha256(std::string(64, 'a')));
  for (const std::string& bad : {std::string(63, 'a'), std::string(65, 'a'), std::string(64, 'A'),
                                 "../" + std::string(61, 'a'), std::string()}) {
    EXPECT_FALSE(IsSha256(bad)) << bad;
  }
}

}  // namespace
}  // namespace ftd
