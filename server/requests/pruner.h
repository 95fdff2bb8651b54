// Removes what retention does not keep, when asked and by itself.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "lib/base/steady_clock.h"
#include "server/host/state_dir.h"
#include "server/host/waker.h"
#include "server/jobs/job_store.h"
#include "server/requests/retention.h"

namespace ftd {

// What went, or would go.
struct Pruned {
  Unneeded what;  // with its size
  absl::Status status;
};

// A removal is safe against a kill at any moment: what is large is renamed first, so that it is
// there as a whole or not at all; a result's is stored before that. Thread-safe.
class Pruner {
 public:
  // `store` and `state_dir` must outlive it. `on_removed` hears of bytes that went.
  Pruner(JobStore& store, const StateDir& state_dir, RetentionSettings settings,
         absl::Duration interval, std::function<void(RemovalKind, int64_t)> on_removed);
  ~Pruner() { Stop(); }
  Pruner(const Pruner&) = delete;
  Pruner& operator=(const Pruner&) = delete;

  // Removes what an earlier daemon had begun to remove. Before anything is served.
  static void Sweep(const StateDir& state_dir);
  // From now on it removes by itself: soon, then once an interval.
  void Start();
  // A job has ended: soon. Does not block.
  void OnJobEnded();
  void Stop();

  // Of `only_owner`'s jobs alone, if one is given. `asked_by`: stored with what went; empty: ftd
  // by itself. One call at a time removes; others wait.
  absl::StatusOr<std::vector<Pruned>> Prune(const std::optional<std::string>& only_owner,
                                            const std::string& asked_by, bool dry_run);

 private:
  void Run();
  absl::StatusOr<std::vector<Pruned>> Choose(const std::optional<std::string>& only_owner,
                                             absl::Time now);
  // The time that files are judged by when nobody asked: a clock that is set forward while ftd runs
  // makes nothing old.
  absl::Time CautiousNow() const;
  // Stores the removal of each result, and takes out those that a job has come to read.
  absl::Status CloseResults(std::vector<Pruned>& pruned, const std::string& asked_by);
  absl::Status Remove(const StoredFile& file, const std::string& asked_by);
  absl::Status RemoveLogs(const StoredFile& file);
  absl::Status Record(const StoredFile& file, const std::string& asked_by);

  JobStore& store_;
  const StateDir& state_dir_;
  const RetentionSettings settings_;
  const absl::Duration interval_;
  const std::function<void(RemovalKind, int64_t)> on_removed_;
  const absl::Time start_time_;
  const Moment start_;
  absl::Mutex pruning_;
  std::atomic<bool> ending_{false};
  std::atomic<bool> job_ended_{false};
  Waker waker_;
  std::thread thread_;
};

}  // namespace ftd
