#include "server/requests/job_view.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "lib/base/error.h"
#include "server/attempts/attempt_files.h"
#include "server/jobs/job_states.h"
#include "server/jobs/wire.h"

namespace ftd {
namespace {

constexpr int kMaxWarnings = 20;

void SetQueuePlace(const Job& job, int64_t position, bool device_busy, bool drained,
                   v1::Job& view) {
  view.set_position(position);
  if (drained) {
    view.set_pending_reason(v1::Job::DRAINED);
  } else if (job.blocked) {
    view.set_pending_reason(v1::Job::DEPENDENCY);
  } else if (job.space_wanted > 0) {
    view.set_pending_reason(v1::Job::DISK_RESERVE);
  } else if (job.not_before > absl::Now()) {
    view.set_pending_reason(v1::Job::BACKOFF);
  } else if (device_busy || position > 1) {
    view.set_pending_reason(v1::Job::GPU_BUSY);
  }
}

void AddQueuePlace(const JobStore& store, const Job& job, v1::Job& view) {
  if (job.state != JobState::kQueued) return;
  SetQueuePlace(job, store.Position(job), store.AnyActive(), store.drained(), view);
}

// What retention removed of a job that has ended.
absl::Status AddRemovals(JobStore& store, const Job& job, v1::Job& view) {
  if (!IsFinal(job.state)) return absl::OkStatus();
  FTD_ASSIGN_OR_RETURN(const auto removals, store.Removals(job.id));
  for (const Removal& removal : removals) {
    *view.add_removals() = ToWire(removal);
    if (removal.kind == RemovalKind::kResult) view.clear_result_dir();
  }
  return absl::OkStatus();
}

// Adds progress out of one attempt's events, and all else that they say of the job if `everything`.
void AddEvents(const std::filesystem::path& dir, bool everything, v1::Job& view) {
  auto events = ReadEvents(dir);
  if (!events.ok()) return;
  for (v1::WorkerEvent& event : *events) {
    if (event.has_progress()) *view.mutable_progress() = event.progress();
    if (!everything) continue;
    if (event.has_warning()) view.add_warnings(event.warning().message());
    if (event.has_data_report())
      *view.mutable_data_report() = std::move(*event.mutable_data_report());
  }
  const int excess = view.warnings_size() - kMaxWarnings;
  if (excess > 0) view.mutable_warnings()->DeleteSubrange(0, excess);
}

// Adds the last step that counts. The newest attempt may have none of its own, not yet or because
// it only made the result of a checkpoint: then it is an earlier attempt's, but not one that a
// later attempt has rolled back.
void AddLastStep(const StateDir& state_dir, const Job& job, const std::vector<Attempt>& attempts,
                 v1::Job& view) {
  int64_t last = std::numeric_limits<int64_t>::max();
  for (size_t i = attempts.size(); i-- > 0;) {
    const auto dir = state_dir.AttemptDir(job.id, attempts[i].number);
    const auto range = ReadStepRange(dir).value_or(std::nullopt);
    if (range.has_value() && range->first <= last) {
      const int64_t row = std::min(last, range->last.step()) - range->first;
      const auto steps = ReadSteps(dir / kStepsLog, row, 1);
      if (steps.ok() && !steps->empty()) *view.mutable_last_step() = steps->front();
      return;
    }
    // This attempt began there without recording a step: the steps after it no longer count.
    if (const auto info = ReadStepLogInfo(dir / kStepsLog); info.ok()) {
      last = std::min(last, info->first_step - 1);
    }
  }
}

// Where the newest attempt has not said what the rows are, an earlier one may have.
void AddEarlierDataReport(const StateDir& state_dir, int32_t attempts, v1::Job& view) {
  if (view.has_data_report()) return;
  if (auto report = JobDataReport(state_dir, view.id(), attempts - 1))
    *view.mutable_data_report() = *std::move(report);
}

void AddEvaluations(const StateDir& state_dir, int32_t attempts, v1::Job& view) {
  if (view.spec().eval_split() == 0) return;
  for (const v1::Evaluation& evaluation : JobEvaluations(state_dir, view.id(), attempts)) {
    *view.mutable_last_evaluation() = evaluation;
    // As BestOf does: the lowest loss, the earlier one of equals, never NaN.
    const bool best =
        !view.has_best_evaluation() || evaluation.loss() < view.best_evaluation().loss();
    if (best && !std::isnan(evaluation.loss())) *view.mutable_best_evaluation() = evaluation;
  }
}

void AddSamples(const StateDir& state_dir, int32_t attempts, v1::Job& view) {
  if (view.spec().sample_prompts().empty()) return;
  for (v1::GeneratedSample& sample : JobLastSamples(state_dir, view.id(), attempts))
    *view.add_last_samples() = std::move(sample);
}

// Adds the steps of an active attempt, which are in its log only; the row gets them when it ends.
void AddLiveSteps(const StateDir& state_dir, v1::Job& view) {
  for (v1::Attempt& attempt : *view.mutable_attempts()) {
    if (attempt.state() != v1::Attempt::ACTIVE) continue;
    const auto range =
        ReadStepRange(state_dir.AttemptDir(view.id(), attempt.number())).value_or(std::nullopt);
    if (!range.has_value()) continue;
    attempt.set_first_step(range->first);
    attempt.set_last_step(range->last.step());
  }
}

// Leaves the newest of a list that fit into a quarter of a MiB: a job that crashed, or saved, some
// thousand times must not outgrow the message that it is sent in.
template <typename Item>
void KeepNewest(google::protobuf::RepeatedPtrField<Item>* list) {
  constexpr size_t kMaxBytes = 256 << 10;
  size_t bytes = 0;
  int first = list->size();
  while (first > 0 && (bytes += list->Get(first - 1).ByteSizeLong()) <= kMaxBytes) --first;
  list->DeleteSubrange(0, first);
}

}  // namespace

// Everything beyond the row is read now, so two calls may differ while an attempt runs.
absl::StatusOr<v1::Job> ViewJob(JobStore& store, const StateDir& state_dir, const Job& job) {
  v1::Job view = ToWire(job);
  AddQueuePlace(store, job, view);
  FTD_ASSIGN_OR_RETURN(const auto attempts, store.Attempts(job.id));
  for (const Attempt& attempt : attempts) *view.add_attempts() = ToWire(attempt);
  AddLiveSteps(state_dir, view);
  if (!attempts.empty()) {
    AddEvents(state_dir.AttemptDir(job.id, attempts.back().number), true, view);
  }
  AddLastStep(state_dir, job, attempts, view);
  AddEarlierDataReport(state_dir, static_cast<int32_t>(attempts.size()), view);
  AddEvaluations(state_dir, static_cast<int32_t>(attempts.size()), view);
  AddSamples(state_dir, static_cast<int32_t>(attempts.size()), view);
  if (auto checkpoints = ListCheckpointDirs(state_dir, job.id); checkpoints.ok()) {
    for (v1::Checkpoint& checkpoint : *checkpoints) *view.add_checkpoints() = std::move(checkpoint);
  }
  FTD_RETURN_IF_ERROR(AddRemovals(store, job, view));
  KeepNewest(view.mutable_attempts());
  KeepNewest(view.mutable_checkpoints());
  KeepNewest(view.mutable_last_samples());
  return view;
}

v1::Job ViewQueuedJob(const Job& job, int64_t position, bool device_busy, bool drained) {
  v1::Job view = ToWire(job);
  SetQueuePlace(job, position, device_busy, drained, view);
  return view;
}

absl::StatusOr<v1::Job> ViewJobBriefly(JobStore& store, const StateDir& state_dir, const Job& job) {
  v1::Job view = ToWire(job);
  AddQueuePlace(store, job, view);
  if (!job.start_time) return view;  // no attempt yet
  FTD_RETURN_IF_ERROR(AddRemovals(store, job, view));
  view.clear_removals();
  FTD_ASSIGN_OR_RETURN(const auto attempts, store.Attempts(job.id));
  if (IsActive(job.state)) {
    AddEvents(state_dir.AttemptDir(job.id, attempts.back().number), false, view);
  }
  AddLastStep(state_dir, job, attempts, view);
  return view;
}

}  // namespace ftd
