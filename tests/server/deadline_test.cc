#include "server/host/deadline.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>

namespace ftd {
namespace {

using std::chrono::steady_clock;

TEST(DeadlineTest, CallsOnceItIsMissed) {
  const auto begun = steady_clock::now();
  std::atomic<int> missed{0};
  {
    const Deadline deadline(std::chrono::milliseconds(20), [&] {
      EXPECT_GE(steady_clock::now() - begun, std::chrono::milliseconds(20));
      ++missed;
      missed.notify_one();
    });
    missed.wait(0);
  }
  EXPECT_EQ(missed, 1);
}

TEST(DeadlineTest, OneThatIsMetCallsNothingAndCostsNoTime) {
  std::atomic<int> missed{0};
  {
    const Deadline deadline(std::chrono::hours(1), [&] { ++missed; });
  }
  EXPECT_EQ(missed, 0);
}

TEST(DeadlineTest, TheEndWaitsForACallThatHasBegun) {
  std::atomic<bool> begun{false}, ended{false};
  {
    const Deadline deadline(std::chrono::milliseconds(0), [&] {
      begun = true;
      begun.notify_one();
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      ended = true;
    });
    begun.wait(false);
  }
  EXPECT_TRUE(ended);
}

}  // namespace
}  // namespace ftd
