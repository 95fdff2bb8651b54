#include "server/job_control.h"

#include "absl/strings/str_cat.h"
#include "artifacts/error.h"
#include "server/job_states.h"

namespace ftd {
namespace {

absl::StatusOr<Job> Cancel(JobStore& store, const Job& job, const std::string& message) {
  if (!IsActive(job.state)) {
    return store.MoveJob(job.id, {JobState::kQueued, JobState::kHeld, JobState::kPaused},
                         {.to = JobState::kCancelled, .message = message});
  }
  FTD_ASSIGN_OR_RETURN(const auto attempts, store.Attempts(job.id));
  return store.MoveJob(job.id, {JobState::kPreparing, JobState::kRunning, JobState::kPausing},
                       {.to = JobState::kCancelling,
                        .message = message,
                        .attempt = attempts.empty() ? 0 : attempts.back().number});
}

absl::StatusOr<Job> MoveUnlessThere(JobStore& store, const std::string& name, JobState from,
                                    const Move& move) {
  FTD_ASSIGN_OR_RETURN(Job job, store.Get(name));
  if (job.state == move.to) return job;
  return store.MoveJob(job.id, {from}, move);
}

}  // namespace

absl::StatusOr<Job> CancelJob(JobStore& store, const std::string& name, const std::string& reason) {
  const std::string message =
      reason.empty() ? "cancelled by the user" : absl::StrCat("cancelled: ", reason);
  while (true) {
    FTD_ASSIGN_OR_RETURN(Job job, store.Get(name));
    if (job.state == JobState::kCancelled || job.state == JobState::kCancelling) return job;
    auto cancelled = Cancel(store, job, message);
    // A conflict of a job that is not final: it moved between the two looks. It cannot do so for
    // ever.
    if (cancelled.ok() || ReasonOf(cancelled.status()) != "STATE_CONFLICT" || IsFinal(job.state)) {
      return cancelled;
    }
  }
}

absl::StatusOr<Job> HoldJob(JobStore& store, const std::string& name) {
  return MoveUnlessThere(store, name, JobState::kQueued,
                         {.to = JobState::kHeld, .message = "held by the user"});
}

absl::StatusOr<Job> ReleaseJob(JobStore& store, const std::string& name) {
  return MoveUnlessThere(store, name, JobState::kHeld,
                         {.to = JobState::kQueued, .message = "released by the user"});
}

}  // namespace ftd
