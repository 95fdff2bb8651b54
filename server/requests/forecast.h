// How long jobs will take, and when those in the queue will start and end, by what earlier ones
// took.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "ftd/v1/fine_tuning.pb.h"
#include "lib/base/steady_clock.h"
#include "lib/plan/pace.h"
#include "server/attempts/device.h"
#include "server/host/gpus.h"
#include "server/host/small_cache.h"
#include "server/host/state_dir.h"
#include "server/jobs/job_store.h"

namespace ftd {

// Seconds that a RUNNING job will still take for its steps, at the mean pace of the last ones;
// nullopt: it has taken none, or nobody knows how many it will take.
std::optional<double> SecondsLeft(JobStore& store, const StateDir& state_dir, const Job& job,
                                  const v1::Job& view);

// Thread-safe.
class Forecast {
 public:
  // All must outlive it.
  Forecast(JobStore& store, const StateDir& state_dir, const Device& device, const GpuSampler& gpus)
      : store_(store), state_dir_(state_dir), device_(device), gpus_(gpus) {}

  // Adds to the plan made for a job how long it will take, where anything is known, and what it has
  // to fetch first.
  void Complete(const Job& job, v1::JobPlan* plan) const;
  // Adds to a view when the job will start and end, and to its plan how long it will take, if it
  // has not ended. Reads what it needs of the jobs before it at most once in two seconds.
  void AddTo(const Job& job, v1::Job* view) const;
  // Adds the jobs that would run before one that is submitted now, and when they will have ended.
  void AddPlace(v1::Estimate* estimate) const;

 private:
  struct Times {
    std::optional<absl::Time> start, end;
  };
  // What is known at one moment.
  struct Outlook {
    Moment made;
    int64_t changes = 0;                            // JobStore::changes() that it knows, at least
    std::vector<PastRun> past;                      // newest first
    absl::flat_hash_map<std::string, Times> times;  // of active and queued jobs, by id
    std::optional<absl::Time> idle;                 // when all of them have ended
  };

  std::vector<PastRun> PastRuns() const;
  // Of a job that has succeeded.
  std::optional<PastRun> TimedRunOf(const Job& job) const;
  std::shared_ptr<const std::optional<PastRun>> RunOf(const Job& job) const;
  std::shared_ptr<const v1::JobPlan> PlanOf(const Job& job) const;
  std::optional<TimeRange> Estimate(const Job& job, const v1::JobPlan& plan,
                                    const Outlook& outlook) const;
  // A middle of the range; nullopt where the job's rows are not tokenised or nothing is known.
  std::optional<absl::Duration> TimeOf(const Job& job, const Outlook& outlook) const;
  // When the job that has the device will leave it; nullopt: not known.
  std::optional<absl::Time> EndOf(const Job& active, const Outlook& outlook) const;
  Outlook Look() const;
  // A look of the last two seconds, or of the last tenth of one where a job has changed since.
  std::shared_ptr<const Outlook> Recent() const;
  double Peak(Dtype dtype) const;

  JobStore& store_;
  const StateDir& state_dir_;
  const Device& device_;
  const GpuSampler& gpus_;
  mutable SmallCache<std::optional<PastRun>> runs_{/*most_entries=*/256,
                                                   /*most_bytes=*/64};               // by job
  mutable SmallCache<v1::JobPlan> plans_{/*most_entries=*/1024, /*most_bytes=*/64};  // by job
  mutable absl::Mutex mutex_;
  mutable std::shared_ptr<const Outlook> recent_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ftd
