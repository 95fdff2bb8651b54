#include "server/attempts/attempt_end.h"

#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "lib/base/error.h"
#include "server/attempts/attempt_evidence.h"
#include "server/attempts/attempt_files.h"
#include "server/attempts/attempt_verdict.h"
#include "server/attempts/disk_room.h"
#include "server/attempts/result_publisher.h"
#include "server/attempts/time_limit.h"

namespace ftd {
namespace {

using Kind = Conclusion::Kind;

// Closes the job's result to users' requests, and publishes it. Changes `judged` along with the
// job. STATE_CONFLICT: the job changed before that.
absl::StatusOr<std::filesystem::path> Publish(JobStore& store, const StateDir& state_dir,
                                              const Attempt& attempt, Job* judged) {
  // A worker that had no step left to take never showed RUNNING.
  if (judged->state == JobState::kPreparing) {
    const Move running{.to = JobState::kRunning, .message = "training", .attempt = attempt.number};
    FTD_ASSIGN_OR_RETURN(*judged, store.MoveJob(judged->id, {JobState::kPreparing}, running));
  }
  FTD_RETURN_IF_ERROR(store.CloseResult(*judged));
  auto place = PublishResult(state_dir, *judged, state_dir.AttemptDir(judged->id, attempt.number));
  if (place.ok()) return place;
  const auto decided = IsPublishing(state_dir.AttemptDir(judged->id, attempt.number));
  if (decided.ok() && !*decided) store.ReopenResult(judged->id);
  return place;
}

// Tells users why the job has not ended yet. Stored once per reason, since publication is tried
// every few seconds.
void ExplainUnpublished(JobStore& store, const Job& job, const absl::Status& why) {
  const std::string message =
      absl::StrCat("it is trained, but its result cannot be published yet, which is tried again: ",
                   why.message());
  const auto now = store.Get(job.id);
  if (!now.ok() || now->message == message) return;
  store
      .Amend(job.id, {JobState::kRunning, JobState::kPausing, JobState::kCancelling},
             [&](Job& waiting) {
               waiting.message = message;
               return absl::OkStatus();
             })
      .status()
      .IgnoreError();
}

// One judgement; fills in how the attempt ended. Sets `unpublished` where only the publication
// failed. STATE_CONFLICT: the job changed meanwhile.
absl::StatusOr<Job> JudgeAndStore(JobStore& store, const StateDir& state_dir, const Job& job,
                                  const WorkerEnd& end, Conclusion* conclusion, bool* unpublished) {
  Attempt* const attempt = &conclusion->attempt;
  attempt->exit_code = end.exit.exit_code;
  attempt->signal = end.exit.signal;
  // The evidence has the job's state of this moment; `job` may be older.
  FTD_ASSIGN_OR_RETURN(AttemptEvidence evidence, GatherEvidence(store, state_dir, job, *attempt));
  evidence.exit = end.exit;
  evidence.daemon_cause = end.daemon_cause;
  // A worker that could not be spawned counts as a crash. As never started it would be tried again
  // without limit.
  evidence.never_started &= end.daemon_cause.empty();
  evidence.asked_to_stop = end.asked_to_stop;
  evidence.hung = end.hung;
  evidence.job_name = job.DisplayName();
  evidence.time_limit = end.time_limit;
  evidence.disk_is_full = IsDiskFull(state_dir);
  const absl::Time now = absl::Now();
  AttemptVerdict verdict = JudgeAttempt(evidence, now);
  conclusion->retry_at = SteadyNow() + (verdict.move.not_before.value_or(now) - now);
  // EndAttempt compares these with the store, and refuses if a user changed the job since the
  // evidence was gathered.
  Job judged = job;
  judged.state = evidence.state;
  judged.keep = evidence.keep;
  // The rename comes before the store says SUCCEEDED. After a crash between the two, the next
  // daemon comes to the same verdict.
  if (verdict.publish) {
    auto place = Publish(store, state_dir, *attempt, &judged);
    *unpublished = !place.ok() && ReasonOf(place.status()) != Reason::kStateConflict;
    FTD_ASSIGN_OR_RETURN(verdict.move.result_dir, std::move(place));
  }
  RemoveUnfinished(state_dir.AttemptDir(job.id, attempt->number));
  if (verdict.disk_was_full) {
    verdict.move.space_wanted = SpaceWantedAfterFullDisk(state_dir, judged);
  }
  attempt->state = verdict.attempt_state;
  attempt->reason = verdict.attempt_reason;
  attempt->ran = end.ran > absl::ZeroDuration()
                     ? end.ran
                     : LifeOf(state_dir.AttemptDir(job.id, attempt->number), *attempt);
  return store.EndAttempt(judged, *attempt, verdict.move);
}

}  // namespace

Conclusion ConcludeAttempt(JobStore& store, const StateDir& state_dir, const Job& job,
                           const Attempt& started, const WorkerEnd& end) {
  // Users may pause or cancel it in this very moment, but no more often than this.
  constexpr int kMostJudgements = 5;
  Conclusion conclusion;
  for (int i = 0; i < kMostJudgements; ++i) {
    // A fresh copy each time: a judgement writes how the attempt ended into it.
    conclusion.attempt = started;
    bool unpublished = false;
    auto ended = JudgeAndStore(store, state_dir, job, end, &conclusion, &unpublished);
    conclusion.why = ended.status();
    if (ended.ok()) {
      conclusion.kind = Kind::kStored;
      conclusion.job = *std::move(ended);
      return conclusion;
    }
    if (unpublished) {
      conclusion.kind = Kind::kUnpublished;
      ExplainUnpublished(store, job, conclusion.why);
      return conclusion;
    }
    if (ReasonOf(conclusion.why) != Reason::kStateConflict) return conclusion;
  }
  return conclusion;
}

}  // namespace ftd
