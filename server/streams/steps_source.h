// QueryMetrics' stream: a job's steps over all its attempts.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "ftd/v1/fine_tuning.pb.h"
#include "lib/runlog/step_log.h"
#include "server/host/state_dir.h"
#include "server/host/stream_source.h"
#include "server/jobs/job_store.h"

namespace ftd {

// Returns at most `max_points` of `steps`, in order: from each of equally long stretches, the rows
// with the least and the greatest loss. A NaN counts as the greatest. 0: all.
std::vector<v1::StepMetrics> Decimate(std::vector<v1::StepMetrics> steps, size_t max_points);

// Holds all chosen steps from the start: an answer is of one moment.
class StepsSource : public StreamSource<v1::QueryMetricsResponse> {
 public:
  // NOT_FOUND JOB_NOT_FOUND; INVALID_ARGUMENT FIELD_INVALID.
  static absl::StatusOr<std::unique_ptr<StepsSource>> Open(JobStore& store,
                                                           const StateDir& state_dir,
                                                           const v1::QueryMetricsRequest& request);

  absl::StatusOr<std::optional<v1::QueryMetricsResponse>> Next() override;
  bool AtEnd() const override { return next_ == steps_.size(); }

 private:
  StepsSource(std::vector<v1::StepMetrics> steps, std::vector<v1::Evaluation> evaluations)
      : steps_(std::move(steps)), evaluations_(std::move(evaluations)) {}
  const std::vector<v1::StepMetrics> steps_;
  const std::vector<v1::Evaluation> evaluations_;
  size_t next_ = 0, next_evaluation_ = 0;
};

}  // namespace ftd
