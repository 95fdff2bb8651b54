// Wakes a thread that has nothing to do. By the steady clock, which the timed waits of absl::Mutex
// do not use: for them a clock that is set back lasts as long as it was set back.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "lib/base/steady_clock.h"

namespace ftd {

// Thread-safe; one thread waits.
class Waker {
 public:
  void Wake() {
    const std::lock_guard lock(mutex_);
    woken_ = true;
    changed_.notify_one();
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

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool woken_ = false;
};

}  // namespace ftd
