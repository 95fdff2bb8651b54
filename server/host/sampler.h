// A figure that is slow to get, or that a fault may hold up forever, taken on a thread of its own.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "absl/time/time.h"
#include "lib/base/steady_clock.h"

namespace ftd {

// Thread-safe. `take` is called on the sampler's thread, when a sample is asked for. A sampler that
// goes while a call hangs leaves its thread behind, so `take` must own what it uses.
template <typename T>
class Sampler {
 public:
  // The thread starts at once, but `take` is not called before a sample is asked for.
  explicit Sampler(std::function<T()> take)
      : shared_(std::make_shared<Shared>()),
        thread_([shared = shared_, take = std::move(take)] { Run(*shared, take); }) {}

  // An idle thread is joined. A busy one may never end, and is left to itself.
  ~Sampler() {
    bool busy = false;
    {
      const std::lock_guard lock(shared_->mutex);
      shared_->closed = true;
      busy = shared_->busy;
      shared_->changed.notify_all();
    }
    busy ? thread_.detach() : thread_.join();
  }

  // A sample begun after this call, or nothing when it is not there in time. While one hangs,
  // nobody waits again.
  std::optional<T> Fresh(absl::Duration patience) const {
    std::unique_lock lock(shared_->mutex);
    if (shared_->busy && SteadyNow() - shared_->begin > patience) return std::nullopt;
    // One under way may have begun too early: wait for the one after.
    const int64_t wanted = shared_->taken + (shared_->busy ? 2 : 1);
    shared_->asked = wanted;
    shared_->changed.notify_all();
    const auto there = [&] { return shared_->taken >= wanted; };
    const auto limit = absl::ToChronoNanoseconds(patience);
    if (!shared_->changed.wait_for(lock, limit, there)) return std::nullopt;
    return shared_->last;
  }

  // The last sample, or nothing before the first. Asks for another when it was begun a second ago,
  // and so long that samples take no more than a hundredth of the time.
  std::optional<T> Last() const {
    const std::lock_guard lock(shared_->mutex);
    const absl::Duration age = std::max(absl::Seconds(1), 100 * shared_->cost);
    if (!shared_->busy && SteadyNow() - shared_->begin > age) {
      shared_->asked = shared_->taken + 1;
      shared_->changed.notify_all();
    }
    return shared_->last;
  }

 private:
  // Owned by both threads, so that a thread that was left behind still has it.
  struct Shared {
    std::mutex mutex;  // of all that follows
    std::condition_variable changed;
    int64_t asked = 0;  // number of the last sample wanted
    int64_t taken = 0;  // samples
    bool busy = false;
    bool closed = false;
    std::optional<T> last;
    Moment begin = -kNever;  // of the latest
    absl::Duration cost;     // time that the last one took
  };

  // Runs on the sampler's thread. The lock is not held while a sample is taken.
  static void Run(Shared& shared, const std::function<T()>& take) {
    std::unique_lock lock(shared.mutex);
    const auto due = [&] { return shared.closed || shared.asked > shared.taken; };
    while (true) {
      shared.changed.wait(lock, due);
      if (shared.closed) return;
      shared.busy = true;
      shared.begin = SteadyNow();
      lock.unlock();
      // May take long, or never return.
      T sample = take();
      lock.lock();
      shared.busy = false;
      shared.last = std::move(sample);
      shared.cost = SteadyNow() - shared.begin;
      ++shared.taken;
      shared.changed.notify_all();
    }
  }

  const std::shared_ptr<Shared> shared_;
  std::thread thread_;
};

}  // namespace ftd
