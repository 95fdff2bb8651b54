#include "server/requests/queue_view.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "lib/base/error.h"
#include "lib/runlog/timestamp.h"
#include "server/jobs/wire.h"
#include "server/requests/job_view.h"

namespace ftd {
namespace {

constexpr int64_t kMostShown = 50, kMostEnded = 5;
constexpr auto kViewShared = std::chrono::milliseconds(500);

// A whole spec would be most of the message.
v1::Job WithBriefSpec(v1::Job job) {
  v1::JobSpec brief;
  brief.set_mode(job.spec().mode());
  brief.set_model(job.spec().model());
  brief.set_max_steps(job.spec().max_steps());
  *job.mutable_spec() = std::move(brief);
  return job;
}

absl::StatusOr<v1::WatchQueueResponse::RunningJob> ViewRunning(JobStore& store,
                                                               const StateDir& state_dir,
                                                               const Job& job) {
  v1::WatchQueueResponse::RunningJob running;
  FTD_ASSIGN_OR_RETURN(v1::Job view, ViewJobBriefly(store, state_dir, job));
  *running.mutable_job() = WithBriefSpec(std::move(view));
  if (const auto left = SecondsLeft(store, state_dir, job, running.job()))
    running.set_eta_seconds(*left);
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
  if (last_ != nullptr && !IsOld(last_->changes) && now - last_->time < kViewShared) return last_;
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
  FTD_ASSIGN_OR_RETURN(const auto queued, store_.Queued(kMostShown));
  for (const Job& job : queued) {
    v1::Job& shown = *view.add_queued();
    shown =
        WithBriefSpec(ViewQueuedJob(job, view.queued_size(), !active.empty(), store_.drained()));
    forecast_.AddTo(job, &shown);
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
