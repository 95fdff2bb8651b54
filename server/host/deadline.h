// Does something unless it is told in time that there is no need.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace ftd {

// Calls `missed` on a thread of its own once it has lived for `limit`, by the steady clock: setting
// the wall clock changes nothing. The destructor waits for a call that has begun.
class Deadline {
 public:
  Deadline(std::chrono::milliseconds limit, std::function<void()> missed)
      : thread_([this, limit, missed = std::move(missed)] {
          std::unique_lock lock(mutex_);
          if (!met_changed_.wait_for(lock, limit, [this] { return met_; })) missed();
        }) {}
  ~Deadline() {
    {
      const std::lock_guard lock(mutex_);
      met_ = true;
    }
    met_changed_.notify_one();
    thread_.join();
  }
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable met_changed_;  // absl::Mutex waits by the wall clock
  bool met_ = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace ftd
