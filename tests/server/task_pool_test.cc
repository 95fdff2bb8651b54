#include "server/host/task_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <latch>
#include <memory>
#include <thread>

namespace ftd {
namespace {

TEST(TaskPoolTest, RunsAsManyAtOnceAsItMayAndAllBeforeItEnds) {
  std::atomic<int> ran = 0;
  {
    TaskPool pool(8);
    EXPECT_EQ(pool.threads(), 1u);
    std::latch together(8);  // none of eight ends before all have begun
    for (int i = 0; i < 8; ++i) {
      pool.Post([&] {
        together.arrive_and_wait();
        ++ran;
      });
    }
    for (int i = 0; i < 100; ++i) pool.Post([&] { ++ran; });
    EXPECT_LE(pool.threads(), 8u);
  }
  EXPECT_EQ(ran, 108);
}

// A thread that waits is woken for each task that waits, whatever the others do.
TEST(TaskPoolTest, WakesAThreadForEachTask) {
  TaskPool pool(8);
  for (int round = 0; round < 2000; ++round) {
    const auto together = std::make_shared<std::latch>(9);
    for (int i = 0; i < 8; ++i) pool.Post([=] { together->arrive_and_wait(); });
    together->arrive_and_wait();
  }
}

TEST(TaskPoolTest, GivesThreadsUpThatHaveNothingToDo) {
  TaskPool pool(16);
  std::latch together(16);
  for (int i = 0; i < 16; ++i) pool.Post([&] { together.arrive_and_wait(); });
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (pool.threads() > 1 && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(pool.threads(), 1u);
  std::latch again(17);
  for (int i = 0; i < 16; ++i) pool.Post([&] { again.arrive_and_wait(); });
  again.arrive_and_wait();
}

}  // namespace
}  // namespace ftd
