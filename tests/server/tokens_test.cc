// Ids, page tokens, resume tokens: the small pure parts.
#include <gtest/gtest.h>

#include <random>

#include "ftd/v1/fine_tuning.pb.h"
#include "lib/base/error.h"
#include "server/api/page.h"
#include "server/host/uploads.h"
#include "server/jobs/id.h"
#include "server/streams/resume_token.h"

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
  EXPECT_EQ(*DecodePageToken(EncodePageToken(42, "QUEUED,HELD"), "QUEUED,HELD", 0), 42);
  EXPECT_EQ(*DecodePageToken(EncodePageToken(42, "a/b"), "a/b", 0), 42);
  EXPECT_EQ(*DecodePageToken("", "QUEUED", 7), 7);
  EXPECT_FALSE(DecodePageToken(EncodePageToken(42, ""), "QUEUED", 0).ok());
  EXPECT_FALSE(DecodePageToken("zzz", "", 0).ok());
}

TEST(Page, TakesWhatFitsAndAtLeastOneItem) {
  v1::Job small, large;
  small.set_id("ft-1");
  large.set_message(std::string(kPageBytes, 'x'));
  v1::ListJobsResponse first, second;
  Page<v1::Job> page(first.mutable_jobs()), other(second.mutable_jobs());
  EXPECT_TRUE(page.Add(large));
  EXPECT_FALSE(page.Add(small));
  EXPECT_EQ(first.jobs_size(), 1);
  EXPECT_TRUE(other.Add(small));
  EXPECT_TRUE(other.Add(small));
  EXPECT_FALSE(other.Add(large));
  EXPECT_EQ(second.jobs_size(), 2);
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
