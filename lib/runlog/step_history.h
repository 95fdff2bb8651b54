// The steps of a job over the logs of its attempts: what MergeStepLogs gives, read piece by piece.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/runlog/step_summary.h"

namespace ftd {

// The steps are fixed when it is opened: those that are recorded later are left out. Used by one
// thread.
class StepHistory {
 public:
  // `logs`: oldest attempt first. Only steps from `from_step` to `to_step` (0: to the last) are
  // its. Errors: those of StepLogReader, but for logs that do not exist.
  static absl::StatusOr<StepHistory> Open(std::vector<std::filesystem::path> logs,
                                          int64_t from_step, int64_t to_step);

  int64_t size() const { return size_; }

  // Returns the numbers, from 0 and in order, of at most `max_points` of the steps, which are
  // divided into max_points / 2 stretches: of n steps, stretch i of s begins at number n * i / s.
  // Of each those with the least and the greatest loss are chosen. A single point is the last step.
  // Requires: 0 < max_points < size().
  absl::StatusOr<std::vector<int64_t>> Choose(int64_t max_points);

  // Returns `count` steps from number `begin` on, fewer at the end, and without those that cannot
  // be read any more.
  absl::StatusOr<std::vector<v1::StepMetrics>> Read(int64_t begin, int64_t count);

 private:
  // Consecutive rows of one log.
  struct Segment {
    size_t log = 0;
    int64_t first_row = 0, rows = 0;
    int64_t begin = 0;  // number of the first of its steps
  };

  StepHistory(std::vector<std::filesystem::path> logs, int64_t from_step, int64_t to_step)
      : logs_(std::move(logs)), from_step_(from_step), to_step_(to_step) {}
  absl::Status FindSegments(StepSummary::Cache cache);
  absl::Status OpenLog(size_t log, StepSummary::Cache cache = StepSummary::Cache::kUsed);
  absl::StatusOr<std::vector<int64_t>> ChooseOfStretches(int64_t stretches);

  std::vector<std::filesystem::path> logs_;
  int64_t from_step_, to_step_;
  std::vector<Segment> segments_;
  int64_t size_ = 0;
  // One log is open at a time: a job may have had a great many attempts.
  size_t open_log_ = 0;
  std::optional<StepSummary> open_;
};

}  // namespace ftd
