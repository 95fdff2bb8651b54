// Wakes the streams that follow a job, or the queue, when there may be something new for them.
//
// The hub holds no events: a stream reads what is new from the store and the files, so that a slow
// one costs no memory and none is lost. Thread-safe.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "server/host/waker.h"

namespace ftd {

// A stream that follows one job or the queue.
class Watcher {
 public:
  virtual ~Watcher() = default;
  // There may be news. Called on the hub's thread, also about once a second without cause; must not
  // block for long.
  virtual void Advance() = 0;
  // The daemon ends; the stream must finish with `status`. Any thread.
  virtual void End(const absl::Status& status) = 0;
};

class WatchHub {
 public:
  static constexpr size_t kMaxWatchers = 1024;
  // What those that follow the queue give for a job's id.
  static constexpr char kQueue[] = "queue";

  WatchHub();
  // Requires: all watchers were removed.
  ~WatchHub();

  // RESOURCE_EXHAUSTED TOO_MANY_WATCHERS when there are too many already; UNAVAILABLE STOPPING
  // after EndAll.
  absl::Status Add(const std::string& job_id, std::shared_ptr<Watcher> watcher);
  // Adds one that is not among the watchers that may be too many; by default it follows no job.
  absl::Status AddUncounted(std::shared_ptr<Watcher> watcher, const std::string& job_id = "");
  // Returns what a stream that is woken by nobody else's news gives for a job's id.
  std::string NewKey();
  // Idempotent. The hub's reference is dropped without its lock held.
  void Remove(const Watcher* watcher);
  // Something about the job changed.
  void Notify(const std::string& job_id);
  // Ends all watchers and takes no more. Returns once End of each was called; Add refuses from the
  // start of the call.
  void EndAll(const absl::Status& status);
  // How many watchers there are, but those that do not count.
  size_t size() const;
  // How many steps were left out for slow watchers.
  std::atomic<int64_t> collapsed_steps{0};

 private:
  // The hub's thread: waits for news, at most a second, then calls Advance of those that are due.
  void Run();
  // Takes what has changed; returns the watchers that it concerns, or all.
  std::vector<std::shared_ptr<Watcher>> Due(bool everybody) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  struct Entry {
    std::string job_id;
    std::shared_ptr<Watcher> watcher;
    bool counts = true;
  };
  absl::Status Put(Entry entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  mutable absl::Mutex mutex_;
  std::map<const Watcher*, Entry> watchers_ ABSL_GUARDED_BY(mutex_);
  size_t counted_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t keys_ ABSL_GUARDED_BY(mutex_) = 0;
  std::set<std::string> changed_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  Waker waker_;
  std::thread thread_;
};

}  // namespace ftd
