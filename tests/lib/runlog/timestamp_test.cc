#include "lib/runlog/timestamp.h"

#include <gtest/gtest.h>

#include <limits>

#include "google/protobuf/util/time_util.h"

namespace ftd {
namespace {

using google::protobuf::util::TimeUtil;

TEST(Timestamp, IsProtobufsToTheMicrosecond) {
  for (const int64_t micros : {int64_t{0}, int64_t{1}, int64_t{999'999}, int64_t{1'000'000},
                               int64_t{1'000'000'000'123'456}, int64_t{253'402'300'799'999'999}}) {
    const auto timestamp = TimeUtil::MicrosecondsToTimestamp(micros);
    EXPECT_EQ(TimeUtil::ToString(ToTimestamp(absl::FromUnixMicros(micros))),
              TimeUtil::ToString(timestamp));
    EXPECT_EQ(absl::ToUnixMicros(ToTime(timestamp)), micros);
  }
}

TEST(Timestamp, NanosecondsAreCut) {
  EXPECT_EQ(ToTimestamp(absl::FromUnixNanos(1'999)).nanos(), 1'000);
  EXPECT_EQ(absl::ToUnixNanos(ToTime(TimeUtil::NanosecondsToTimestamp(1'999))), 1'000);
}

TEST(Timestamp, AnyValueOfALogSurvives) {
  for (const int64_t micros : {std::numeric_limits<int64_t>::min(), int64_t{-1'500'000},
                               int64_t{-1}, std::numeric_limits<int64_t>::max()}) {
    EXPECT_EQ(absl::ToUnixMicros(ToTime(ToTimestamp(absl::FromUnixMicros(micros)))), micros);
  }
  google::protobuf::Timestamp absurd;
  absurd.set_seconds(std::numeric_limits<int64_t>::max());
  EXPECT_GT(ToTime(absurd), absl::FromUnixSeconds(1'000'000'000'000));
}

TEST(Timestamp, SecondsForPrometheus) {
  EXPECT_EQ(ToUnixDouble(absl::FromUnixMillis(1'500)), 1.5);
  EXPECT_EQ(ToUnixDouble(absl::Time()), 0);
}

}  // namespace
}  // namespace ftd
