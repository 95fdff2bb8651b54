#include "server/requests/queue_view.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "lib/base/error.h"
#include "lib/runlog/step_log.h"
#include "lib/runlog/timestamp.h"
#include "server/attempts/attempt_files.h"
#include "server/jobs/wire.h"
#include "server/requests/job_view.h"

namespace ftd {
namespace {

constexpr int64_t kMostQueued = 50, kMostEnded = 5;
constexpr auto kShared = std::chrono::milliseconds(500);
constexpr int64_t kPaceSteps = 20;  // as many as ftctl watch takes the mean of

// A whole spec would be most of the message.
v1::Job WithBriefSpec(v1::Job job) {
  v1::JobSpec brief;
  brief.set_mode(job.spec().mode());
  brief.set_model(job.spec().model());
  brief.set_max_steps(job.spec().max_steps());
  *job.mutable_spec() = std::move(brief);
  return job;
}

// The mean time of an attempt's last steps; nullopt: it has taken none.
std::optional<double> SecondsPerStep(const std::filesystem::path& attempt_dir) {
  const auto range = ReadStepRange(attempt_dir).value_or(std::nullopt);
  if (!range.has_value()) return std::nullopt;
  const int64_t rows = range->last.step() - range->first + 1;
  const auto steps =
      ReadSteps(attempt_dir / kStepsLog, std::max<int64_t>(0, rows - kPaceSteps), kPaceSteps);
  if (!steps.ok() || steps->empty()) return std::nullopt;
  double sum = 0;
  for (const v1::StepMetrics& step : *steps) sum += step.step_seconds();
  return sum / static_cast<double>(steps->size());
}

absl::StatusOr<v1::WatchQueueResponse::RunningJob> ViewRunning(JobStore& store,
                                                               const StateDir& state_dir,
                                                               const Job& job) {
  v1::WatchQueueResponse::RunningJob running;
  FTD_ASSIGN_OR_RETURN(v1::Job view, ViewJobBriefly(store, state_dir, job));
  *running.mutable_job() = WithBriefSpec(std::move(view));
  const v1::Job& shown = running.job();
  const int64_t planned = std::max(shown.progress().steps_planned(), shown.spec().max_steps());
  if (job.state != JobState::kRunning || planned == 0) return running;
  FTD_ASSIGN_OR_RETURN(const auto attempts, store.Attempts(job.id));
  if (attempts.empty()) return running;
  const auto pace = SecondsPerStep(state_dir.AttemptDir(job.id, attempts.back().number));
  if (!pace.has_value()) return running;
  const int64_t left = std::max<int64_t>(0, planned - shown.last_step().step());
  running.set_eta_seconds(*pace * static_cast<double>(left));
  return running;
}

v1::WatchQueueResponse::Gpu ToWire(const Gpu& gpu) {
  v1::WatchQueueResponse::Gpu wire;
  wire.set_index(gpu.index);
  wire.set_name(gpu.name);
  if (gpu.memory_used_bytes) wire.set_memory_used_bytes(*gpu.memory_used_bytes);
  if (gpu.memory_total_bytes) wire.set_memory_total_bytes(*gpu.memory_total_bytes);
  if (gpu.utilization) wire.set_utilization_ratio(*gpu.utilization);
  if (gpu.power_watts) wire.set_power_watts(*gpu.power_watts);
  if (gpu.temperature_celsius) wire.set_temperature_celsius(*gpu.temperature_celsius);
  return wire;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const QueueView::Snapshot>> QueueView::Take() const {
  using std::chrono::steady_clock;
  absl::MutexLock lock(&mutex_);
  const auto now = steady_clock::now();
  if (last_ != nullptr && !IsOld(last_->changes) && now - last_->time < kShared) return last_;
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->changes = store_.changes();  // before the queries: what happens meanwhile comes next
  snapshot->time = now;
  FTD_ASSIGN_OR_RETURN(snapshot->message, Make());
  last_ = std::move(snapshot);
  return last_;
}

absl::StatusOr<v1::WatchQueueResponse> QueueView::Make() const {
  v1::WatchQueueResponse view;
  *view.mutable_time() = ToTimestamp(absl::Now());
  view.set_device(device_);
  if (const auto gpus = gpus_.Last()) {
    for (const Gpu& gpu : *gpus) *view.add_gpus() = ToWire(gpu);
  }
  FTD_ASSIGN_OR_RETURN(const auto active, store_.Active());
  for (const Job& job : active) {
    FTD_ASSIGN_OR_RETURN(*view.add_running(), ViewRunning(store_, state_dir_, job));
  }
  FTD_ASSIGN_OR_RETURN(const auto queued, store_.Queued(kMostQueued));
  for (const Job& job : queued) {
    *view.add_queued() = WithBriefSpec(
        ViewQueuedJob(job, view.queued_size() + 1, !active.empty(), store_.drained()));
  }
  FTD_ASSIGN_OR_RETURN(
      const auto ended,
      store_.List(INT64_MAX, {JobState::kSucceeded, JobState::kFailed, JobState::kCancelled},
                  kMostEnded));
  for (const Job& job : ended) {
    FTD_ASSIGN_OR_RETURN(v1::Job brief, ViewJobBriefly(store_, state_dir_, job));
    *view.add_ended() = WithBriefSpec(std::move(brief));
  }
  FTD_ASSIGN_OR_RETURN(const auto drain, store_.GetDrain());
  if (drain.has_value()) *view.mutable_drain() = ToWire(*drain);
  auto counts = store_.CountByState();
  view.set_queued_total(counts[JobState::kQueued]);
  view.set_held_total(counts[JobState::kHeld]);
  view.set_paused_total(counts[JobState::kPaused]);
  return view;
}

}  // namespace ftd
