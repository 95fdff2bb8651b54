#include "server/streams/steps_source.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <limits>
#include <utility>

#include "lib/base/error.h"
#include "server/attempts/attempt_files.h"
#include "server/jobs/wire.h"

namespace ftd {
namespace {

constexpr int64_t kStepsPerMessage = 1024;

// Wrong bounds are refused rather than answered with nothing.
absl::Status CheckRequest(const v1::QueryMetricsRequest& request) {
  std::vector<FieldViolation> bad;
  if (request.from_step() < 0) bad.push_back({"from_step", "must not be negative"});
  if (request.to_step() < 0) bad.push_back({"to_step", "must not be negative"});
  if (request.max_points() < 0) bad.push_back({"max_points", "must not be negative"});
  if (request.to_step() > 0 && request.to_step() < request.from_step()) {
    bad.push_back({"to_step", "must not be less than from_step"});
  }
  return bad.empty() ? absl::OkStatus() : FieldError(bad);
}

}  // namespace

absl::StatusOr<std::unique_ptr<StepsSource>> StepsSource::Open(
    JobStore& store, const StateDir& state_dir, const v1::QueryMetricsRequest& request) {
  FTD_RETURN_IF_ERROR(CheckRequest(request));
  FTD_ASSIGN_OR_RETURN(const Job job, store.Get(request.job()));
  FTD_ASSIGN_OR_RETURN(const auto attempts, store.Attempts(job.id));
  // Steps are merged over all attempts; where two recorded the same step, the later one counts.
  std::vector<std::filesystem::path> logs;
  logs.reserve(attempts.size());
  for (const Attempt& attempt : attempts) {
    logs.push_back(state_dir.AttemptDir(job.id, attempt.number) / kStepsLog);
  }
  FTD_ASSIGN_OR_RETURN(StepHistory history,
                       StepHistory::Open(std::move(logs), request.from_step(), request.to_step()));
  auto source = std::unique_ptr<StepsSource>(
      new StepsSource(std::move(history),
                      JobEvaluations(state_dir, job.id, static_cast<int32_t>(attempts.size()))));
  FTD_RETURN_IF_ERROR(source->ThinOut(request.max_points()));
  return source;
}

absl::Status StepsSource::ThinOut(int64_t max_points) {
  if (max_points == 0 || history_.size() <= max_points) return absl::OkStatus();
  FTD_ASSIGN_OR_RETURN(chosen_, history_.Choose(max_points));
  count_ = static_cast<int64_t>(chosen_.size());
  return absl::OkStatus();
}

// Reads the steps of one message.
absl::StatusOr<std::vector<v1::StepMetrics>> StepsSource::ReadNext() {
  const int64_t begin = next_;
  next_ = std::min(count_, next_ + kStepsPerMessage);
  if (chosen_.empty()) return history_.Read(begin, next_ - begin);
  std::vector<v1::StepMetrics> steps;
  for (int64_t i = begin; i < next_; ++i) {
    FTD_ASSIGN_OR_RETURN(auto step, history_.Read(chosen_[static_cast<size_t>(i)], 1));
    std::move(step.begin(), step.end(), std::back_inserter(steps));
  }
  return steps;
}

absl::StatusOr<std::optional<v1::QueryMetricsResponse>> StepsSource::Next() {
  if (AtEnd()) return std::nullopt;
  FTD_ASSIGN_OR_RETURN(auto steps, ReadNext());
  v1::QueryMetricsResponse message;
  for (v1::StepMetrics& step : steps) {
    const int64_t number = step.step();
    *message.add_steps() = std::move(step);
    const auto here = [&] {
      return next_evaluation_ < evaluations_.size() ? evaluations_[next_evaluation_].step()
                                                    : std::numeric_limits<int64_t>::max();
    };
    // Steps may have been left out, and then so are their evaluations. Both lists are sorted by
    // step.
    while (here() < number) ++next_evaluation_;
    if (here() == number) *message.add_evaluations() = evaluations_[next_evaluation_];
  }
  return message;
}

}  // namespace ftd
