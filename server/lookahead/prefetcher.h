// Fetches the next queued job's files from the hub while another job has the device.
#pragma once

#include <atomic>
#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/jobs/job_store.h"

namespace ftd {

// Only a help: whatever goes wrong here, the job's own worker will meet and report.
class Prefetcher {
 public:
  // `store` must outlive it. `on_fetched` is called on its thread.
  Prefetcher(JobStore& store, std::function<void()> on_fetched);
  // Stops fetching; the bytes so far stay.
  ~Prefetcher();
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  // Something in the store changed. Thread-safe, does not block.
  void Wake();

 private:
  void Run();
  void FetchForNext();
  bool MustLook() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return woken_ || ending_; }

  JobStore& store_;
  const std::function<void()> on_fetched_;
  absl::Mutex mutex_;
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

}  // namespace ftd
