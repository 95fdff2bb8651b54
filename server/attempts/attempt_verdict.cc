#include "server/attempts/attempt_verdict.h"

#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/jobs/job_states.h"

namespace ftd {
namespace {

using End = v1::WorkerEvent::End;

// Returns whether the worker ended itself because the host's memory ran short. The job may have
// used it up, or anything else on the host; so another attempt may succeed, and this is treated as
// a crash.
bool IsMemoryGuards(const AttemptEvidence& evidence) {
  return evidence.end.has_value() && evidence.end->outcome() == End::FAILED &&
         evidence.end->failure_reason() == v1::HOST_MEMORY_GUARD;
}

// Returns the cause of a crash for the user, the most telling evidence first.
std::string HowItEnded(const AttemptEvidence& evidence) {
  if (IsMemoryGuards(evidence)) return evidence.end->message();
  if (evidence.hung) return "the worker stood still and was killed";
  if (!evidence.daemon_cause.empty()) return evidence.daemon_cause;
  if (evidence.end.has_value() && evidence.end->outcome() == End::SUCCEEDED) {
    return "the worker reported success but left no result";
  }
  if (evidence.exit.signal.has_value()) {
    return absl::StrCat(
        "the worker was ended by signal ", *evidence.exit.signal, " (SIG",
        sigabbrev_np(*evidence.exit.signal) ? sigabbrev_np(*evidence.exit.signal) : "?", ")");
  }
  if (evidence.exit.exit_code.has_value()) {
    return absl::StrCat("the worker ended with exit status ", *evidence.exit.exit_code,
                        " without saying why");
  }
  return "the worker vanished while ftd was not running";
}

// Returns the move of a job whose worker stopped because it was asked to.
Move StoppedMove(const AttemptEvidence& evidence) {
  switch (evidence.state) {
    case JobState::kCancelling:
      if (!evidence.keep) return {.to = JobState::kCancelled, .message = "cancelled"};
      return {.to = JobState::kQueued,
              .message = "the worker left no result; the next attempt makes it",
              .at_head = true};
    case JobState::kPausing:
      return {.to = JobState::kPaused,
              .message = evidence.resume_step == 0
                             ? "paused without a checkpoint: starts afresh"
                             : absl::StrCat("paused; continues after step ", evidence.resume_step)};
    default:
      if (evidence.time_limit > absl::ZeroDuration())
        return TimeLimitMove(evidence.time_limit, evidence.job_name, evidence.resume_step);
      return {.to = JobState::kQueued,
              .message = "interrupted; continues when its turn comes",
              .at_head = true};
  }
}

AttemptVerdict Stopped(const AttemptEvidence& evidence) {
  return {.attempt_state = AttemptState::kStopped,
          .attempt_reason = "stopped",
          .move = StoppedMove(evidence)};
}

// Returns the verdict on a complete result. Only a cancel without `keep` discards it, one that came
// before the publication was decided on; a pause that came too late does not.
AttemptVerdict Succeeded(const AttemptEvidence& evidence) {
  AttemptVerdict verdict{.attempt_state = AttemptState::kSucceeded, .attempt_reason = "completed"};
  verdict.publish = evidence.result == ResultEvidence::kPublishing ||
                    evidence.state != JobState::kCancelling || evidence.keep;
  if (!verdict.publish) {
    verdict.move = StoppedMove(evidence);
    return verdict;
  }
  std::string message = "completed";
  if (evidence.keep) message = absl::StrCat("ended early, after step ", evidence.end->last_step());
  if (!evidence.end->message().empty()) message = evidence.end->message();
  verdict.move = {.to = JobState::kSucceeded, .message = std::move(message), .crashes = 0};
  return verdict;
}

// Returns the verdict on a run that diverged and is to go back. A stop that was asked for holds as
// well.
AttemptVerdict RolledBack(const AttemptEvidence& evidence) {
  AttemptVerdict verdict = Stopped(evidence);
  verdict.attempt_state = AttemptState::kRolledBack;
  verdict.attempt_reason = evidence.end->message();
  if (verdict.move.to == JobState::kQueued) {
    verdict.move.message =
        absl::StrCat(evidence.end->message(), "; it continues ",
                     evidence.resume_step == 0 ? "from the start"
                                               : absl::StrCat("after step ", evidence.resume_step),
                     " at half the learning rate");
  }
  return verdict;
}

// Returns the verdict on a failure that the worker reported itself: no other attempt, since it
// would fail in the same way. A user who cancelled the job sees it cancelled, not failed.
AttemptVerdict Failed(const AttemptEvidence& evidence) {
  const End& end = *evidence.end;
  AttemptVerdict verdict{.attempt_state = AttemptState::kFailed, .attempt_reason = end.message()};
  if (evidence.state == JobState::kCancelling && !evidence.keep) {
    verdict.move = StoppedMove(evidence);
    return verdict;
  }
  const auto reason =
      end.failure_reason() == v1::FAILURE_REASON_UNSPECIFIED ? v1::INTERNAL : end.failure_reason();
  std::string name = v1::FailureReason_Name(reason);
  // Empty for a reason that only a newer worker knows.
  if (name.empty()) name = "INTERNAL";
  verdict.move = {.to = JobState::kFailed,
                  .message = end.message(),
                  .failure_reason = name,
                  .hint = end.hint()};
  return verdict;
}

// Somebody else may have filled the disk for a moment: then more space than is free by now may
// never be, and is not waited for longer than this.
constexpr absl::Duration kDiskBackoff = absl::Seconds(30);

// Returns the verdict on a worker that found the disk full, which is not the fault of the job: it
// continues when there is space, however often that happens.
AttemptVerdict OutOfSpace(const AttemptEvidence& evidence, absl::Time now) {
  AttemptVerdict verdict = Stopped(evidence);
  verdict.attempt_state = AttemptState::kFailed;
  verdict.attempt_reason = evidence.end.has_value() ? evidence.end->message() : "the disk is full";
  if (verdict.move.to != JobState::kQueued) return verdict;
  verdict.disk_was_full = true;
  verdict.move.message =
      absl::StrCat(verdict.attempt_reason, "; it continues when there is more space");
  if (evidence.end.has_value()) verdict.move.hint = evidence.end->hint();
  verdict.move.not_before = now + kDiskBackoff;
  return verdict;
}

// Memory that another program took needs longer to come back than a worker to restart.
absl::Duration Backoff(const AttemptEvidence& evidence, int32_t crashes) {
  if (IsMemoryGuards(evidence)) return absl::Seconds(crashes < 2 ? 30 : 120);
  return absl::Seconds(crashes < 2 ? 1 : 2);
}

// Queues the job again with a back-off, or fails it after kMaxCrashes attempts in a row without
// progress. Progress starts the count again, so that a job of many days survives any number of
// unrelated crashes.
Move CrashMove(const AttemptEvidence& evidence, const std::string& cause, absl::Time now) {
  const int32_t crashes = evidence.made_progress ? 0 : evidence.crashes + 1;
  if (crashes < kMaxCrashes) {
    return {
        .to = JobState::kQueued,
        .message = absl::StrCat("attempt ", evidence.attempt, ": ", cause, "; it is tried again"),
        .at_head = true,
        .not_before = now + Backoff(evidence, crashes),
        .crashes = crashes};
  }
  if (IsMemoryGuards(evidence)) {
    return {
        .to = JobState::kFailed,
        .message = absl::StrCat(kMaxCrashes, " attempts in a row made no progress. Last: ", cause),
        .failure_reason = "HOST_MEMORY_GUARD",
        .hint = evidence.end->hint(),
        .crashes = crashes};
  }
  const std::string tail(absl::StripAsciiWhitespace(evidence.log_tail));
  return {.to = JobState::kFailed,
          .message = absl::StrCat(kMaxCrashes, " attempts in a row made no progress. Last: ", cause,
                                  tail.empty() ? "" : ". Its last words:\n", tail),
          .failure_reason = evidence.hung ? "WORKER_HUNG" : "WORKER_CRASHED",
          .hint =
              "`ftctl logs` shows the worker's whole output; out of memory is the usual cause of "
              "signal 9: "
              "use a smaller --batch-size (or --batch-tokens) or --seq-length, or "
              "--gradient-checkpointing on",
          .crashes = crashes};
}

// The cause goes to both: the attempt's reason and the job's message.
AttemptVerdict Crashed(const AttemptEvidence& evidence, absl::Time now) {
  const std::string cause = HowItEnded(evidence);
  return {.attempt_state = AttemptState::kCrashed,
          .attempt_reason = cause,
          .move = CrashMove(evidence, cause, now)};
}

// Returns the dynamic loader's line about a library of the worker that it did not find; else empty.
// It exits with 127 before main, so there is no event.
std::string LoaderComplaint(const AttemptEvidence& evidence) {
  constexpr int32_t kLoaderFailed = 127;
  if (evidence.exit.exit_code != kLoaderFailed) return "";
  for (const absl::string_view line : absl::StrSplit(evidence.log_tail, '\n')) {
    if (absl::StrContains(line, "error while loading shared libraries")) return std::string(line);
  }
  return "";
}

// Returns the verdict on a worker that cannot be loaded. Another attempt would end in the same way.
AttemptVerdict CannotLoad(const std::string& complaint) {
  return {.attempt_state = AttemptState::kFailed,
          .attempt_reason = complaint,
          .move = {.to = JobState::kFailed,
                   .message = absl::StrCat("the worker cannot start: ", complaint),
                   .failure_reason = "WORKER_CRASHED",
                   .hint = "put LibTorch's folder at lib/ftd/torch below ftd's prefix, or name it "
                           "in FTD_LIBTORCH in ftd's environment; then `ftctl retry`"}};
}

// The order is the rule: the worker's own report first, then a stop that was asked for, however the
// worker then died, and only then a crash. A crash of a worker that was to stop anyway thus counts
// as the stop.
AttemptVerdict Judge(const AttemptEvidence& evidence, absl::Time now) {
  const auto outcome =
      evidence.end.has_value() ? evidence.end->outcome() : End::OUTCOME_UNSPECIFIED;
  if (outcome == End::SUCCEEDED && evidence.result != ResultEvidence::kNone) {
    return Succeeded(evidence);
  }
  const bool guards = IsMemoryGuards(evidence);
  if (outcome == End::FAILED && evidence.end->failure_reason() == v1::DISK_FULL) {
    return OutOfSpace(evidence, now);
  }
  if (outcome == End::FAILED && !guards) return Failed(evidence);
  if (outcome == End::ROLLED_BACK) return RolledBack(evidence);
  const bool stop_wanted = evidence.asked_to_stop || evidence.state == JobState::kCancelling ||
                           evidence.state == JobState::kPausing;
  if (outcome == End::STOPPED || stop_wanted || evidence.never_started) return Stopped(evidence);
  if (evidence.disk_is_full && !evidence.end.has_value()) return OutOfSpace(evidence, now);
  if (const std::string complaint = LoaderComplaint(evidence); !complaint.empty()) {
    return CannotLoad(complaint);
  }
  return Crashed(evidence, now);
}

}  // namespace

Move TimeLimitMove(absl::Duration limit, const std::string& job_name, int64_t resume_step) {
  const std::string from = absl::StrCat(job_name, "@", resume_step);
  return {.to = JobState::kFailed,
          .message = absl::StrCat("it has used up its time limit of ", absl::FormatDuration(limit)),
          .failure_reason = "TIME_LIMIT",
          .hint = resume_step == 0
                      ? "it has no checkpoint; `ftctl retry` and `ftctl update --time-limit` give "
                        "it more time"
                      : absl::StrCat("`ftctl submit --start-from ", from,
                                     "` begins with the weights of its last checkpoint")};
}

AttemptVerdict JudgeAttempt(const AttemptEvidence& evidence, absl::Time now) {
  AttemptVerdict verdict = Judge(evidence, now);
  verdict.move.attempt = evidence.attempt;
  return verdict;
}

}  // namespace ftd
