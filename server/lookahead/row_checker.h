// Tokenises the rows of queued jobs while another job trains. A job whose rows are bad, or so long
// that the device's memory cannot hold one, fails before its turn; of the others the tokens are in
// the cache when it comes.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <thread>

#include "absl/container/flat_hash_set.h"
#include "lib/plan/fit.h"
#include "server/host/state_dir.h"
#include "server/host/waker.h"
#include "server/jobs/job_store.h"
#include "server/lookahead/look_pause.h"

namespace ftd {

// Only a help: a look that cannot be taken, or is broken off, leaves the job to its own worker. It
// gives way while a job prepares, since that may need the cache.
class RowChecker {
 public:
  // `store` and `state_dir` must outlive it.
  RowChecker(JobStore& store, const StateDir& state_dir, std::string worker,
             std::function<MemoryRoom()> room);
  ~RowChecker() { Stop(); }
  RowChecker(const RowChecker&) = delete;
  RowChecker& operator=(const RowChecker&) = delete;

  // Something in the store or the cache of the hub changed. Thread-safe, does not block.
  void Wake() { waker_.Wake(); }
  // Breaks off the look that is under way; there will be no other. Wake is harmless from now on.
  void Stop();

 private:
  void Run();
  // The first job in the queue that is to be looked at now.
  std::optional<Job> Next();
  void Check(const Job& job);
  // Another job has the device and is past the phases that need the cache.
  bool DeviceIsBusy() const;

  JobStore& store_;
  const StateDir& state_dir_;
  const std::string worker_;
  const std::function<MemoryRoom()> room_;
  absl::flat_hash_set<std::string> seen_;  // jobs that need no other look
  Waker waker_;
  Moment looked_ = SteadyNow() - kLookPause;
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

}  // namespace ftd
