// Metrics of the jobs that train, derived from the rows and events that their workers record. The
// series of a job end five minutes after its last attempt did, or when three later ones have ended,
// so that a thousand quick jobs leave no more than one.
#pragma once

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "lib/base/steady_clock.h"
#include "lib/runlog/step_metrics.h"
#include "server/attempts/attempt_follower.h"
#include "server/jobs/job.h"

namespace ftd {

// "lora", "full": of a job's resolved spec.
std::string ModeOf(const Job& job);

// Thread-safe.
class TrainingMetrics : public prometheus::Collectable {
 public:
  // Called with each piece of news, steps in order. An attempt that is new here starts its series.
  void OnNews(const Job& job, const Attempt& attempt, const AttemptNews& news);
  void OnAttemptEnded(const Job& job);
  // Called at each scrape. A job without steps has no series of steps.
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  // Upper bounds of the buckets of ftd_train_step_duration_seconds.
  static constexpr std::array<double, 12> kStepSeconds = {0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                                                          1,    2.5,   5,    10,  30,   120};

  // Numbers of one attempt: a new one starts them again, which a counter may do.
  struct Series {
    // Made once: the spec has to be parsed for them.
    std::map<std::string, std::string> labels;
    int32_t attempt = 0;
    std::optional<Moment> ended;  // the attempt; none while it runs
    absl::Time heartbeat_time;
    int64_t steps_planned = 0;
    v1::StepMetrics last;
    std::map<const StepMetric*, double> sums;
    double nonfinite_steps = 0;
    double step_seconds_sum = 0;
    uint64_t steps = 0;
    std::array<uint64_t, kStepSeconds.size()> step_seconds_counts{};
    double checkpoints = 0;
    double checkpoint_bytes = 0;
    double checkpoint_time = 0;
    std::optional<double> eval_loss;
  };

  // Called when an attempt has ended.
  void DropOld() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Adds a step to the sums and makes it the last one.
  static void TakeStep(Series& series, const v1::StepMetrics& step);
  // Seconds since 1970.
  static double EstimatedEnd(const Series& series);
  // Those of the table of metrics.
  static std::vector<prometheus::MetricFamily> StepFamilies(const std::vector<const Series*>& all);
  static prometheus::MetricFamily StepSecondsFamily(const std::vector<const Series*>& all);

  // News come on the runner's thread, scrapes on the endpoint's.
  mutable absl::Mutex mutex_;
  std::map<std::string, Series> series_ ABSL_GUARDED_BY(mutex_);  // by job id
};

}  // namespace ftd
