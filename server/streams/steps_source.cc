#include "server/streams/steps_source.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>

#include "lib/base/error.h"
#include "server/attempts/attempt_files.h"
#include "server/jobs/wire.h"

namespace ftd {
namespace {

constexpr size_t kStepsPerMessage = 1024;

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

// Returns the loss as Decimate compares it: NaN is the greatest, so that a divergence stays in
// sight.
double Height(const v1::StepMetrics& step) {
  return std::isnan(step.loss()) ? std::numeric_limits<double>::infinity() : step.loss();
}

}  // namespace

std::vector<v1::StepMetrics> Decimate(std::vector<v1::StepMetrics> steps, size_t max_points) {
  if (max_points == 0 || steps.size() <= max_points) return steps;
  if (max_points == 1) return {steps.back()};
  const auto lower = [](const v1::StepMetrics& a, const v1::StepMetrics& b) {
    return Height(a) < Height(b);
  };
  // Two points of each stretch, so that a spike of a single step survives any reduction. O(steps).
  const size_t stretches = max_points / 2;
  std::vector<v1::StepMetrics> kept;
  for (size_t i = 0; i < stretches; ++i) {
    const auto begin = steps.begin() + static_cast<std::ptrdiff_t>(steps.size() * i / stretches);
    const auto end =
        steps.begin() + static_cast<std::ptrdiff_t>(steps.size() * (i + 1) / stretches);
    // Iterators are compared, not losses: the earlier step goes first.
    const auto [least, greatest] = std::minmax_element(begin, end, lower);
    kept.push_back(*std::min(least, greatest));
    if (least != greatest) kept.push_back(*std::max(least, greatest));
  }
  return kept;
}

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
  FTD_ASSIGN_OR_RETURN(std::vector<v1::StepMetrics> steps, MergeStepLogs(logs));
  std::erase_if(steps, [&](const v1::StepMetrics& step) {
    return step.step() < request.from_step() ||
           (request.to_step() > 0 && step.step() > request.to_step());
  });
  return std::unique_ptr<StepsSource>(
      new StepsSource(Decimate(std::move(steps), static_cast<size_t>(request.max_points())),
                      JobEvaluations(state_dir, job.id, static_cast<int32_t>(attempts.size()))));
}

absl::StatusOr<std::optional<v1::QueryMetricsResponse>> StepsSource::Next() {
  if (AtEnd()) return std::nullopt;
  v1::QueryMetricsResponse message;
  const size_t end = std::min(steps_.size(), next_ + kStepsPerMessage);
  for (; next_ < end; ++next_) {
    const int64_t step = steps_[next_].step();
    *message.add_steps() = steps_[next_];
    const auto here = [&] {
      return next_evaluation_ < evaluations_.size() ? evaluations_[next_evaluation_].step()
                                                    : std::numeric_limits<int64_t>::max();
    };
    // Steps may have been left out, and then so are their evaluations. Both lists are sorted by
    // step.
    while (here() < step) ++next_evaluation_;
    if (here() == step) *message.add_evaluations() = evaluations_[next_evaluation_];
  }
  return message;
}

}  // namespace ftd
