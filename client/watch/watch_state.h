// A watcher's knowledge of a job: the sum of the events so far. No I/O.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "ftd/v1/fine_tuning.pb.h"

namespace ftd {

struct StepLoss {
  int64_t step = 0;
  double loss = 0;
  // The exponential mean of the losses up to here, weight 0.9, without bias towards its start (as
  // TensorBoard smooths). NaN before the first that is finite.
  double smoothed = 0;
  int64_t finite = 0;  // losses in that mean
};

class WatchState {
 public:
  // A snapshot starts from nothing: the stream replays every step after it.
  void Apply(const ftd::v1::WatchJobResponse& event);
  // The link to ftd broke (why) or is back ("").
  void SetLost(const std::string& why) { lost_ = why; }

  // The job as of the last event. `attempts` is the snapshot's.
  const ftd::v1::Job& job() const { return job_; }
  bool has_step() const { return !losses_.empty(); }
  // Requires: has_step().
  const ftd::v1::StepMetrics& step() const { return step_; }
  // One per step seen, oldest first.
  const std::vector<StepLoss>& losses() const { return losses_; }
  // Those seen, oldest first.
  const std::vector<ftd::v1::Evaluation>& evaluations() const { return evaluations_; }
  // Mean seconds of the last steps; 0 when unknown.
  double seconds_per_step() const;
  // Returns the time that is left, from seconds_per_step; nullopt when unknown.
  std::optional<double> eta_seconds() const;
  int32_t attempt() const { return attempt_; }
  const std::string& lost() const { return lost_; }

 private:
  void ApplyStep(const ftd::v1::StepMetrics& step);
  void ApplySample(const ftd::v1::GeneratedSample& sample);
  void ApplyStateChange(const ftd::v1::WatchJobResponse::StateChange& change);
  void RollBack(int64_t step);
  void RollBackEvaluations(int64_t step);

  ftd::v1::Job job_;
  ftd::v1::StepMetrics step_;
  std::vector<StepLoss> losses_;
  std::vector<ftd::v1::Evaluation> evaluations_;
  std::deque<double> recent_seconds_;
  int32_t attempt_ = 0;
  std::string lost_;
};

}  // namespace ftd
