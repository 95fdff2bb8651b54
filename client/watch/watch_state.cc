#include "client/watch/watch_state.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "client/base/exit_codes.h"
#include "client/text/names.h"

namespace ftd {
namespace {

using ftd::v1::Job;
using ftd::v1::WatchJobResponse;

constexpr size_t kRecentSteps = 20;
constexpr int kWarningsKept = 20;
constexpr StepLoss kNoLoss = {.smoothed = std::numeric_limits<double>::quiet_NaN()};

// Adam's bias correction: of n losses the mean has the weight 1 − 0.9^n, without which the first
// steps would be pulled towards 0.
StepLoss After(const StepLoss& last, const ftd::v1::StepMetrics& step) {
  constexpr double kWeight = 0.9;
  StepLoss next = {step.step(), step.loss(), last.smoothed, last.finite};
  if (!std::isfinite(step.loss())) return next;
  ++next.finite;
  const double before = 1 - std::pow(kWeight, last.finite);
  const double mean =
      kWeight * (last.finite == 0 ? 0 : last.smoothed * before) + (1 - kWeight) * step.loss();
  next.smoothed = mean / (1 - std::pow(kWeight, next.finite));
  return next;
}

}  // namespace

void WatchState::Apply(const WatchJobResponse& event) {
  switch (event.event_case()) {
    case WatchJobResponse::kSnapshot:
      // A snapshot comes first, or again when the server could not use the token.
      *this = WatchState();
      job_ = event.snapshot();
      if (job_.attempts_size() > 0) attempt_ = job_.attempts(job_.attempts_size() - 1).number();
      break;
    case WatchJobResponse::kStateChange:
      ApplyStateChange(event.state_change());
      break;
    case WatchJobResponse::kProgress:
      *job_.mutable_progress() = event.progress();
      break;
    case WatchJobResponse::kStep:
      ApplyStep(event.step());
      break;
    case WatchJobResponse::kCheckpoint:
      *job_.add_checkpoints() = event.checkpoint();
      break;
    case WatchJobResponse::kEvaluation:
      // An evaluation that a stop had cut off is made after the step that it belongs to.
      RollBackEvaluations(event.evaluation().step() - 1);
      evaluations_.push_back(event.evaluation());
      break;
    case WatchJobResponse::kSample:
      ApplySample(event.sample());
      break;
    case WatchJobResponse::kWarning:
      if (job_.warnings_size() == kWarningsKept) job_.mutable_warnings()->DeleteSubrange(0, 1);
      job_.add_warnings(event.warning());
      break;
    case WatchJobResponse::kRolledBackToStep:
      RollBack(event.rolled_back_to_step());
      break;
    default:
      break;
  }
}

// Losses are kept for the plot, times only for the last steps, from which the end is estimated.
void WatchState::ApplyStep(const ftd::v1::StepMetrics& step) {
  step_ = step;
  losses_.push_back(After(losses_.empty() ? kNoLoss : losses_.back(), step));
  recent_seconds_.push_back(step.step_seconds());
  if (recent_seconds_.size() > kRecentSteps) recent_seconds_.pop_front();
}

// Those of one step are shown together: the first of a step takes the place of all before it.
void WatchState::ApplySample(const ftd::v1::GeneratedSample& sample) {
  auto& samples = *job_.mutable_last_samples();
  if (!samples.empty() && samples.rbegin()->step() != sample.step()) samples.Clear();
  for (ftd::v1::GeneratedSample& known : samples) {
    if (known.index() != sample.index()) continue;
    known = sample;
    return;
  }
  *samples.Add() = sample;
}

void WatchState::ApplyStateChange(const WatchJobResponse::StateChange& change) {
  job_.set_state(change.to());
  job_.set_message(change.message());
  job_.set_failure_reason(change.failure_reason());
  job_.set_hint(change.hint());
  if (!change.result_dir().empty()) job_.set_result_dir(change.result_dir());
  if (change.attempt() != 0) attempt_ = change.attempt();
  // These described the state before.
  job_.set_position(0);
  job_.set_pending_reason(Job::PENDING_REASON_UNSPECIFIED);
  if (change.to() == Job::PREPARING && !job_.has_start_time())
    *job_.mutable_start_time() = change.time();
  if (IsFinal(change.to())) *job_.mutable_end_time() = change.time();
}

void WatchState::RollBack(int64_t step) {
  while (!losses_.empty() && losses_.back().step > step) losses_.pop_back();
  RollBackEvaluations(step);
  auto& samples = *job_.mutable_last_samples();
  if (!samples.empty() && samples.rbegin()->step() > step) samples.Clear();
  // Speed before a roll-back says little about the attempt that follows.
  recent_seconds_.clear();
  step_.set_step(step);
}

void WatchState::RollBackEvaluations(int64_t step) {
  while (!evaluations_.empty() && evaluations_.back().step() > step) evaluations_.pop_back();
}

double WatchState::seconds_per_step() const {
  double sum = 0;
  for (const double seconds : recent_seconds_) sum += seconds;
  return recent_seconds_.empty() ? 0 : sum / static_cast<double>(recent_seconds_.size());
}

std::optional<double> WatchState::eta_seconds() const {
  const int64_t planned = StepsPlanned(job_);
  if (job_.state() != Job::RUNNING || planned == 0 || recent_seconds_.empty()) return std::nullopt;
  return static_cast<double>(std::max<int64_t>(0, planned - step_.step())) * seconds_per_step();
}

}  // namespace ftd
