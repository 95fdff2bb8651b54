#include "lib/runlog/step_history.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "lib/base/error.h"

namespace ftd {
namespace {

constexpr int64_t kMostSteps = std::numeric_limits<int64_t>::max() / 2;

}  // namespace

absl::StatusOr<StepHistory> StepHistory::Open(std::vector<std::filesystem::path> logs,
                                              int64_t from_step, int64_t to_step) {
  StepHistory history(std::move(logs), from_step, to_step);
  FTD_RETURN_IF_ERROR(history.FindSegments(StepSummary::Cache::kUsed));
  return history;
}

absl::Status StepHistory::OpenLog(size_t log, StepSummary::Cache cache) {
  if (open_.has_value() && open_log_ == log && cache == StepSummary::Cache::kUsed)
    return absl::OkStatus();
  open_.reset();
  FTD_ASSIGN_OR_RETURN(StepSummary opened, StepSummary::Open(logs_[log], cache));
  open_.emplace(std::move(opened));
  open_log_ = log;
  return absl::OkStatus();
}

// From the newest log to the oldest: an attempt repeats the steps after its checkpoint, so of the
// logs before it only the steps before its first one count, also where it has not got as far.
absl::Status StepHistory::FindSegments(StepSummary::Cache cache) {
  segments_.clear();
  size_ = 0;
  const bool to_the_last = to_step_ == 0 || to_step_ == std::numeric_limits<int64_t>::max();
  int64_t end_step = to_the_last ? std::numeric_limits<int64_t>::max() : to_step_ + 1;
  for (size_t log = logs_.size(); log-- > 0;) {
    const absl::Status opened = OpenLog(log, cache);
    if (absl::IsNotFound(opened)) continue;
    FTD_RETURN_IF_ERROR(opened);
    // A damaged header may say anything.
    const int64_t first_step = std::clamp<int64_t>(open_->log().info().first_step, 0, kMostSteps);
    const int64_t begin = std::max<int64_t>(0, from_step_ - first_step);
    const int64_t end = std::min(open_->rows(), end_step - first_step);
    if (begin < end) segments_.push_back({.log = log, .first_row = begin, .rows = end - begin});
    end_step = std::min(end_step, first_step);
  }
  std::reverse(segments_.begin(), segments_.end());
  for (Segment& segment : segments_) {
    segment.begin = size_;
    size_ += segment.rows;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int64_t>> StepHistory::Choose(int64_t max_points) {
  if (max_points == 1) return std::vector<int64_t>{size_ - 1};
  auto chosen = ChooseOfStretches(max_points / 2);
  if (!absl::IsAborted(chosen.status())) return chosen;
  FTD_RETURN_IF_ERROR(FindSegments(StepSummary::Cache::kIgnored));
  return ChooseOfStretches(max_points / 2);
}

absl::StatusOr<std::vector<int64_t>> StepHistory::ChooseOfStretches(int64_t stretches) {
  std::vector<int64_t> chosen;
  auto segment = segments_.begin();
  for (int64_t i = 0; i < stretches; ++i) {
    int64_t begin = size_ * i / stretches;
    const int64_t end = size_ * (i + 1) / stretches;
    StepExtremes all;  // their rows: numbers of steps
    while (begin < end) {
      while (segment->begin + segment->rows <= begin) ++segment;
      FTD_RETURN_IF_ERROR(OpenLog(segment->log));
      const int64_t stop = std::min(end, segment->begin + segment->rows);
      const int64_t to_row = segment->first_row - segment->begin;
      FTD_ASSIGN_OR_RETURN(StepExtremes part, open_->Over(begin + to_row, stop + to_row));
      part.least_row -= to_row;
      part.greatest_row -= to_row;
      all.Add(part);
      begin = stop;
    }
    if (all.least_row < 0) continue;
    chosen.push_back(std::min(all.least_row, all.greatest_row));
    if (all.least_row != all.greatest_row)
      chosen.push_back(std::max(all.least_row, all.greatest_row));
  }
  return chosen;
}

absl::StatusOr<std::vector<v1::StepMetrics>> StepHistory::Read(int64_t begin, int64_t count) {
  std::vector<v1::StepMetrics> steps;
  const int64_t end = std::min(size_, begin + count);
  auto segment = std::partition_point(segments_.begin(), segments_.end(), [&](const Segment& each) {
    return each.begin + each.rows <= begin;
  });
  for (; begin < end; ++segment) {
    FTD_RETURN_IF_ERROR(OpenLog(segment->log));
    const int64_t stop = std::min(end, segment->begin + segment->rows);
    FTD_ASSIGN_OR_RETURN(
        auto part, open_->log().Steps(segment->first_row + begin - segment->begin, stop - begin));
    std::move(part.begin(), part.end(), std::back_inserter(steps));
    begin = stop;
  }
  return steps;
}

}  // namespace ftd
