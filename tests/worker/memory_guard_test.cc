#include "worker/run/memory_guard.h"

#include <atomic>
#include <chrono>
#include <future>
#include <thread>

#include "gtest/gtest.h"
#include "lib/base/error.h"
#include "lib/base/host_memory.h"

namespace ftd {
namespace {

constexpr int64_t kGibibyte = 1LL << 30;
constexpr std::chrono::seconds kDeadline{10};

class MemoryGuardTest : public ::testing::Test {
 protected:
  void Guard(int64_t reserve) {
    guard_ = MemoryGuard::Start(
                 reserve, &flags_,
                 [this](const absl::Status& why) {
                   if (!told_.exchange(true)) emergency_.set_value(why);
                 },
                 [this] {
                   ++looks_;
                   return available_.load();
                 })
                 .value();
  }
  // Until the guard has seen what `available_` is now.
  void WaitForALook() {
    const int before = looks_;
    const auto deadline = std::chrono::steady_clock::now() + kDeadline;
    while (looks_ < before + 2 && std::chrono::steady_clock::now() < deadline)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    ASSERT_GE(looks_, before + 2);
  }

  StopFlags flags_;
  std::atomic<int64_t> available_{9 * kGibibyte};
  std::atomic<int> looks_{0};
  std::atomic<bool> told_{false};
  std::promise<absl::Status> emergency_;
  std::unique_ptr<MemoryGuard> guard_;
};

TEST_F(MemoryGuardTest, AsksForACheckpointBelowTheReserve) {
  Guard(8 * kGibibyte);
  WaitForALook();
  EXPECT_FALSE(flags_.stop);
  EXPECT_TRUE(guard_->verdict().ok());
  available_ = 7 * kGibibyte;
  WaitForALook();
  EXPECT_TRUE(flags_.stop && flags_.halt);
  available_ = 20 * kGibibyte;  // too late
  WaitForALook();
  EXPECT_EQ(ReasonOf(guard_->verdict()), Reason::kHostMemoryGuard);
  EXPECT_EQ(guard_->verdict().message(),
            "the host had 7.0 GiB of memory left, 8.0 GiB is what jobs must leave free");
  EXPECT_FALSE(told_);
}

TEST_F(MemoryGuardTest, BelowHalfOfItThereIsNoTime) {
  Guard(8 * kGibibyte);
  available_ = 4 * kGibibyte - 1;
  std::future<absl::Status> why = emergency_.get_future();
  ASSERT_EQ(why.wait_for(kDeadline), std::future_status::ready);
  EXPECT_EQ(ReasonOf(why.get()), Reason::kHostMemoryGuard);
}

TEST_F(MemoryGuardTest, WhatIsNotKnownIsNoReason) {
  Guard(8 * kGibibyte);
  available_ = 0;
  WaitForALook();
  EXPECT_FALSE(flags_.stop);
  EXPECT_FALSE(told_);
}

TEST_F(MemoryGuardTest, NoReserveNoGuard) {
  Guard(0);
  available_ = 1;
  std::this_thread::sleep_for(std::chrono::milliseconds(250));
  EXPECT_EQ(looks_, 0);
  EXPECT_TRUE(guard_->verdict().ok());
}

TEST(HostMemory, IsKnownHere) { EXPECT_GT(AvailableHostMemory(), 64LL << 20); }

// No GPU, or one with memory of its own.
TEST(HostMemory, AReserveThatIsWantedHolds) {
  EXPECT_EQ(HostMemoryReserve(0), 0);
  EXPECT_EQ(HostMemoryReserve(5), 5);
}

}  // namespace
}  // namespace ftd
