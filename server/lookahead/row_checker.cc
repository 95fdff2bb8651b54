#include "server/lookahead/row_checker.h"

#include <utility>

#include "lib/hub/sources.h"
#include "server/attempts/attempt_files.h"
#include "server/host/log.h"
#include "server/lookahead/row_check.h"

namespace ftd {
namespace {

constexpr int64_t kQueueSeen = 100;  // jobs of the queue that are looked at in one turn

bool IsFetched(const Job& job) {
  if (job.sources_json.empty()) return true;
  const auto sources = hub::SourcesFromJson(job.sources_json);
  return sources.ok() && hub::HasSources(*sources);
}

}  // namespace

// The thread is the last member, so all others exist when it starts.
RowChecker::RowChecker(JobStore& store, const StateDir& state_dir, std::string worker,
                       std::function<MemoryRoom()> room)
    : store_(store),
      state_dir_(state_dir),
      worker_(std::move(worker)),
      room_(std::move(room)),
      thread_([this] { Run(); }) {}

void RowChecker::Stop() {
  ending_ = true;
  waker_.End();
  if (thread_.joinable()) thread_.join();
}

void RowChecker::Run() {
  while (!ending_) {
    waker_.WaitAtLeastUntil(looked_ + kLookPause);
    looked_ = SteadyNow();
    while (!ending_) {
      const std::optional<Job> job = Next();
      if (!job.has_value()) break;
      Check(*job);
    }
  }
}

bool RowChecker::DeviceIsBusy() const {
  const auto active = store_.Active();
  if (!active.ok() || active->empty()) return false;
  for (const Job& job : *active)
    if (job.state == JobState::kPreparing) return false;
  return true;
}

// A job that has had an attempt has been through its rows, or was about to when it crashed.
std::optional<Job> RowChecker::Next() {
  if (!DeviceIsBusy()) return std::nullopt;
  const auto queued = store_.Queued(kQueueSeen);
  if (!queued.ok()) return std::nullopt;
  // What has left the queue is forgotten.
  absl::flat_hash_set<std::string> seen;
  for (const Job& job : *queued)
    if (seen_.contains(job.id)) seen.insert(job.id);
  seen_ = std::move(seen);
  for (const Job& job : *queued) {
    // The weights that a job begins with may bring the tokenizer, and are not there yet.
    if (job.blocked && !job.start_from.empty()) continue;
    if (seen_.contains(job.id) || !IsFetched(job)) continue;
    const auto attempts = store_.Attempts(job.id);
    if (attempts.ok() && attempts->empty()) return job;
    seen_.insert(job.id);
  }
  return std::nullopt;
}

void RowChecker::Check(const Job& job) {
  const auto still_wanted = [&] {
    if (ending_ || !DeviceIsBusy()) return false;
    const auto now = store_.Get(job.id);
    return now.ok() && now->state == JobState::kQueued;
  };
  const auto check = CheckRows(worker_, state_dir_, state_dir_.RowCheck(job.id), job, room_(),
                               {.go_on = still_wanted, .progress = {}});
  if (absl::IsCancelled(check.status())) return;  // it is looked at again, if it is still queued
  seen_.insert(job.id);
  const About about{.job = job.id};
  if (!check.ok())
    return LogWarning(about, "its rows could not be looked at: ", check.status().message());
  const v1::WorkerEvent::End& end = check->end;
  if (check->report.has_value()) KeepDataReport(state_dir_, job.id, *check->report);
  if (end.outcome() != v1::WorkerEvent::End::FAILED)
    return LogInfo(about, "its rows are tokenised");
  // Whatever else is wrong may be right when its turn comes.
  if (end.failure_reason() != v1::DATASET_INVALID && end.failure_reason() != v1::DOES_NOT_FIT)
    return LogWarning(about, "its rows could not be tokenised ahead: ", end.message());
  const Move failed{.to = JobState::kFailed,
                    .message = end.message(),
                    .failure_reason = v1::FailureReason_Name(end.failure_reason()),
                    .hint = end.hint()};
  store_.MoveJob(job.id, {JobState::kQueued}, failed).status().IgnoreError();
}

}  // namespace ftd
