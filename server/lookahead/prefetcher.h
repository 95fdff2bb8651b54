// Fetches the next queued job's files from the hub while another job has the device.
#pragma once

#include <atomic>
#include <functional>
#include <thread>

#include "server/host/waker.h"
#include "server/jobs/job_store.h"
#include "server/lookahead/look_pause.h"

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
  void Wake() { waker_.Wake(); }

 private:
  void Run();
  void FetchForNext();

  JobStore& store_;
  const std::function<void()> on_fetched_;
  Waker waker_;
  Moment looked_ = SteadyNow() - kLookPause;
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

}  // namespace ftd
