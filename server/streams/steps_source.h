// QueryMetrics' stream: a job's steps over all its attempts.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "ftd/v1/fine_tuning.pb.h"
#include "lib/runlog/step_history.h"
#include "server/host/state_dir.h"
#include "server/host/stream_source.h"
#include "server/jobs/job_store.h"

namespace ftd {

// Which steps are sent is decided when it is opened, so an answer is of one moment; they are read
// as they are sent.
class StepsSource : public StreamSource<v1::QueryMetricsResponse> {
 public:
  // NOT_FOUND JOB_NOT_FOUND; INVALID_ARGUMENT FIELD_INVALID.
  static absl::StatusOr<std::unique_ptr<StepsSource>> Open(JobStore& store,
                                                           const StateDir& state_dir,
                                                           const v1::QueryMetricsRequest& request);

  absl::StatusOr<std::optional<v1::QueryMetricsResponse>> Next() override;
  bool AtEnd() const override { return next_ == count_; }

 private:
  StepsSource(StepHistory history, std::vector<v1::Evaluation> evaluations)
      : history_(std::move(history)),
        evaluations_(std::move(evaluations)),
        count_(history_.size()) {}
  absl::Status ThinOut(int64_t max_points);
  absl::StatusOr<std::vector<v1::StepMetrics>> ReadNext();

  StepHistory history_;
  const std::vector<v1::Evaluation> evaluations_;
  std::vector<int64_t> chosen_;  // numbers of the steps that are sent; empty: all of them
  int64_t count_ = 0;            // of these
  int64_t next_ = 0;
  size_t next_evaluation_ = 0;
};

}  // namespace ftd
