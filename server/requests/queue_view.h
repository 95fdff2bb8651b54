// The queue and the device as WatchQueue shows them.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "ftd/v1/fine_tuning.pb.h"
#include "server/host/gpus.h"
#include "server/host/state_dir.h"
#include "server/jobs/job_store.h"
#include "server/requests/forecast.h"

namespace ftd {

// Makes snapshots. All who ask within half a second get the same one, unless a job has changed, so
// that a thousand watchers cost little more than one. Thread-safe.
class QueueView {
 public:
  struct Snapshot {
    v1::WatchQueueResponse message;
    int64_t changes = 0;  // JobStore::changes() that it shows, at least
    std::chrono::steady_clock::time_point time;
  };

  // All outlive it. `device`: the name of what jobs train on.
  QueueView(JobStore& store, const StateDir& state_dir, const GpuSampler& gpus,
            const Forecast& forecast, const char* device)
      : store_(store), state_dir_(state_dir), gpus_(gpus), forecast_(forecast), device_(device) {}

  absl::StatusOr<std::shared_ptr<const Snapshot>> Take() const;
  // Whether Take would show a change of a job since `changes`.
  bool IsOld(int64_t changes) const { return store_.changes() != changes; }
  // Waits for the GPUs' figures of this moment, a second at most.
  void AskGpus() const { gpus_.Fresh(absl::Seconds(1)); }
  // Keeps their figures about a second young, if called that often.
  void KeepGpusFresh() const { gpus_.Last(); }

 private:
  absl::StatusOr<v1::WatchQueueResponse> Make() const;

  JobStore& store_;
  const StateDir& state_dir_;
  const GpuSampler& gpus_;
  const Forecast& forecast_;
  const char* const device_;
  mutable absl::Mutex mutex_;
  mutable std::shared_ptr<const Snapshot> last_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ftd
