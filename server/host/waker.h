// Wakes a thread that has nothing to do. By the steady clock, which the timed waits of absl::Mutex
// do not use: for them a clock that is set back lasts as long as it was set back.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "lib/base/steady_clock.h"

namespace ftd {

// Thread-safe; one thread waits.
class Waker {
 public:
  void Wake() {
    const std::lock_guard lock(mutex_);
    if (!std::exchange(woken_, true)) changed_.notify_one();
  }

  // Returns once it is `until`, or Wake was called since the last return.
  void WaitUntil(Moment until = kNever) {
    std::unique_lock lock(mutex_);
    const auto woken = [this] { return woken_; };
    if (until == kNever) {
      changed_.wait(lock, woken);
    } else {
      changed_.wait_for(lock, absl::ToChronoNanoseconds(until - SteadyNow()), woken);
    }
    woken_ = false;
  }

  // Returns once Wake was called since the last return, but not before `earliest`: for work that is
  // done once for all who call within a moment.
  void WaitAtLeastUntil(Moment earliest) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return woken_; });
    const auto rest = absl::ToChronoNanoseconds(earliest - SteadyNow());
    changed_.wait_for(lock, rest, [this] { return ended_; });
    woken_ = false;
  }

  // From now on nobody waits any more.
  void End() {
    const std::lock_guard lock(mutex_);
    woken_ = ended_ = true;
    changed_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool woken_ = false;
  bool ended_ = false;
};

}  // namespace ftd
