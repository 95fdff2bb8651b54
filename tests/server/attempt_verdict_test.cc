#include "server/attempts/attempt_verdict.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/jobs/job_states.h"

namespace ftd {
namespace {

using End = v1::WorkerEvent::End;
using testing::HasSubstr;

std::optional<End> Ended(End::Outcome outcome) {
  End end;
  end.set_outcome(outcome);
  end.set_message("what the worker says");
  end.set_hint("what to do");
  if (outcome == End::FAILED) end.set_failure_reason(v1::DATASET_INVALID);
  return end;
}

std::optional<End> EndedByTheGuard() {
  std::optional<End> end = Ended(End::FAILED);
  end->set_failure_reason(v1::HOST_MEMORY_GUARD);
  return end;
}

std::optional<End> EndedByTheDisk() {
  std::optional<End> end = Ended(End::FAILED);
  end->set_failure_reason(v1::DISK_FULL);
  return end;
}

struct Row {
  const char* name;
  AttemptEvidence evidence;
  AttemptState attempt_state;
  JobState to;
  const char* failure_reason = "";
  bool publish = false;
  bool at_head = false;
};

const Row kRows[] = {
    {"success",
     {.state = JobState::kRunning,
      .end = Ended(End::SUCCEEDED),
      .result = ResultEvidence::kComplete},
     AttemptState::kSucceeded,
     JobState::kSucceeded,
     "",
     true},
    {"success before the first step",
     {.state = JobState::kPreparing,
      .end = Ended(End::SUCCEEDED),
      .result = ResultEvidence::kComplete},
     AttemptState::kSucceeded,
     JobState::kSucceeded,
     "",
     true},
    {"success while being cancelled",
     {.state = JobState::kCancelling,
      .end = Ended(End::SUCCEEDED),
      .result = ResultEvidence::kComplete},
     AttemptState::kSucceeded,
     JobState::kCancelled},
    {"success, cancelled after its publication was decided on",
     {.state = JobState::kCancelling,
      .end = Ended(End::SUCCEEDED),
      .result = ResultEvidence::kPublishing},
     AttemptState::kSucceeded,
     JobState::kSucceeded,
     "",
     true},
    {"a full disk",
     {.state = JobState::kRunning, .crashes = 2, .end = EndedByTheDisk()},
     AttemptState::kFailed,
     JobState::kQueued,
     "",
     false,
     true},
    {"a full disk while being paused",
     {.state = JobState::kPausing, .end = EndedByTheDisk()},
     AttemptState::kFailed,
     JobState::kPaused},
    {"a full disk while being cancelled",
     {.state = JobState::kCancelling, .end = EndedByTheDisk()},
     AttemptState::kFailed,
     JobState::kCancelled},
    {"success without a result",
     {.state = JobState::kRunning, .end = Ended(End::SUCCEEDED)},
     AttemptState::kCrashed,
     JobState::kQueued,
     "",
     false,
     true},
    {"failure",
     {.state = JobState::kRunning, .end = Ended(End::FAILED)},
     AttemptState::kFailed,
     JobState::kFailed,
     "DATASET_INVALID"},
    {"failure while being cancelled",
     {.state = JobState::kCancelling, .end = Ended(End::FAILED)},
     AttemptState::kFailed,
     JobState::kCancelled},
    {"stopped by the daemon",
     {.state = JobState::kRunning, .end = Ended(End::STOPPED), .asked_to_stop = true},
     AttemptState::kStopped,
     JobState::kQueued,
     "",
     false,
     true},
    {"rolled back",
     {.state = JobState::kRunning, .end = Ended(End::ROLLED_BACK)},
     AttemptState::kRolledBack,
     JobState::kQueued,
     "",
     false,
     true},
    {"rolled back while it was to pause",
     {.state = JobState::kPausing, .end = Ended(End::ROLLED_BACK)},
     AttemptState::kRolledBack,
     JobState::kPaused},
    {"rolled back while being cancelled",
     {.state = JobState::kCancelling, .end = Ended(End::ROLLED_BACK)},
     AttemptState::kRolledBack,
     JobState::kCancelled},
    {"stopped by somebody else",
     {.state = JobState::kPreparing, .end = Ended(End::STOPPED)},
     AttemptState::kStopped,
     JobState::kQueued,
     "",
     false,
     true},
    {"cancelled",
     {.state = JobState::kCancelling, .end = Ended(End::STOPPED)},
     AttemptState::kStopped,
     JobState::kCancelled},
    {"cancelled and killed",
     {.state = JobState::kCancelling, .exit = {.signal = 9}},
     AttemptState::kStopped,
     JobState::kCancelled},
    {"paused",
     {.state = JobState::kPausing, .end = Ended(End::STOPPED)},
     AttemptState::kStopped,
     JobState::kPaused},
    {"paused and killed",
     {.state = JobState::kPausing, .exit = {.signal = 9}, .asked_to_stop = true},
     AttemptState::kStopped,
     JobState::kPaused},
    {"vanished while it was to pause and no daemon ran",
     {.state = JobState::kPausing},
     AttemptState::kStopped,
     JobState::kPaused},
    {"failure while it was to pause",
     {.state = JobState::kPausing, .end = Ended(End::FAILED)},
     AttemptState::kFailed,
     JobState::kFailed,
     "DATASET_INVALID"},
    {"success while it was to pause",
     {.state = JobState::kPausing,
      .end = Ended(End::SUCCEEDED),
      .result = ResultEvidence::kComplete},
     AttemptState::kSucceeded,
     JobState::kSucceeded,
     "",
     true},
    {"ended early with a result",
     {.state = JobState::kCancelling,
      .keep = true,
      .end = Ended(End::SUCCEEDED),
      .result = ResultEvidence::kComplete},
     AttemptState::kSucceeded,
     JobState::kSucceeded,
     "",
     true},
    {"stopped before it had made the result to keep",
     {.state = JobState::kCancelling, .keep = true, .end = Ended(End::STOPPED)},
     AttemptState::kStopped,
     JobState::kQueued,
     "",
     false,
     true},
    {"killed before it had made the result to keep",
     {.state = JobState::kCancelling, .keep = true, .exit = {.signal = 9}},
     AttemptState::kStopped,
     JobState::kQueued,
     "",
     false,
     true},
    {"cannot make the result to keep",
     {.state = JobState::kCancelling, .keep = true, .end = Ended(End::FAILED)},
     AttemptState::kFailed,
     JobState::kFailed,
     "DATASET_INVALID"},
    {"third crash over the result to keep",
     {.state = JobState::kRunning, .keep = true, .crashes = 2, .exit = {.signal = 11}},
     AttemptState::kCrashed,
     JobState::kFailed,
     "WORKER_CRASHED"},
    {"killed at shutdown",
     {.state = JobState::kRunning, .exit = {.signal = 9}, .asked_to_stop = true},
     AttemptState::kStopped,
     JobState::kQueued,
     "",
     false,
     true},
    {"first crash",
     {.state = JobState::kRunning, .exit = {.signal = 11}},
     AttemptState::kCrashed,
     JobState::kQueued,
     "",
     false,
     true},
    {"third crash",
     {.state = JobState::kRunning, .crashes = 2, .exit = {.signal = 11}},
     AttemptState::kCrashed,
     JobState::kFailed,
     "WORKER_CRASHED"},
    {"third crash, with progress",
     {.state = JobState::kRunning, .crashes = 2, .exit = {.signal = 11}, .made_progress = true},
     AttemptState::kCrashed,
     JobState::kQueued,
     "",
     false,
     true},
    {"the daemon died before the start",
     {.state = JobState::kPreparing, .crashes = 2, .never_started = true},
     AttemptState::kStopped,
     JobState::kQueued,
     "",
     false,
     true},
    {"third hang",
     {.state = JobState::kRunning, .crashes = 2, .exit = {.signal = 9}, .hung = true},
     AttemptState::kCrashed,
     JobState::kFailed,
     "WORKER_HUNG"},
    {"memory ran short",
     {.state = JobState::kRunning, .crashes = 1, .end = EndedByTheGuard()},
     AttemptState::kCrashed,
     JobState::kQueued,
     "",
     false,
     true},
    {"memory ran short, with progress",
     {.state = JobState::kRunning, .crashes = 2, .end = EndedByTheGuard(), .made_progress = true},
     AttemptState::kCrashed,
     JobState::kQueued,
     "",
     false,
     true},
    {"memory ran short for the third time",
     {.state = JobState::kRunning, .crashes = 2, .end = EndedByTheGuard()},
     AttemptState::kCrashed,
     JobState::kFailed,
     "HOST_MEMORY_GUARD"},
    {"memory ran short while it was paused",
     {.state = JobState::kPausing, .crashes = 2, .end = EndedByTheGuard()},
     AttemptState::kStopped,
     JobState::kPaused},
    {"exit 0 without a word",
     {.state = JobState::kRunning, .exit = {.exit_code = 0}},
     AttemptState::kCrashed,
     JobState::kQueued,
     "",
     false,
     true},
    {"vanished while no daemon ran",
     {.state = JobState::kRunning},
     AttemptState::kCrashed,
     JobState::kQueued,
     "",
     false,
     true},
};

TEST(AttemptVerdict, Table) {
  for (const Row& row : kRows) {
    SCOPED_TRACE(row.name);
    const AttemptVerdict verdict = JudgeAttempt(row.evidence, absl::FromUnixMillis(1));
    EXPECT_EQ(verdict.attempt_state, row.attempt_state);
    EXPECT_EQ(verdict.move.to, row.to) << JobStateName(verdict.move.to);
    EXPECT_EQ(verdict.move.failure_reason, row.failure_reason);
    EXPECT_EQ(verdict.publish, row.publish);
    EXPECT_EQ(verdict.move.at_head, row.at_head);
    EXPECT_FALSE(verdict.attempt_reason.empty());
    // A success goes through RUNNING; every other move is legal from where the job is.
    EXPECT_TRUE(IsLegalMove(row.evidence.state, verdict.move.to) || verdict.publish);
  }
}

TEST(AttemptVerdict, MemoryIsWaitedForLonger) {
  AttemptEvidence evidence{.state = JobState::kRunning, .end = EndedByTheGuard()};
  EXPECT_EQ(JudgeAttempt(evidence, absl::Time()).move.not_before, absl::FromUnixSeconds(30));
  evidence.crashes = 1;
  EXPECT_EQ(JudgeAttempt(evidence, absl::Time()).move.not_before, absl::FromUnixSeconds(120));
  evidence.crashes = 2;
  const Move move = JudgeAttempt(evidence, absl::Time()).move;
  EXPECT_THAT(move.message,
              HasSubstr("3 attempts in a row made no progress. Last: what the worker says"));
  EXPECT_EQ(move.hint, "what to do");
}

TEST(AttemptVerdict, APauseTellsWhereTheJobGoesOn) {
  AttemptEvidence evidence{.state = JobState::kPausing, .end = Ended(End::STOPPED)};
  EXPECT_THAT(JudgeAttempt(evidence, absl::Time()).move.message, HasSubstr("starts afresh"));
  evidence.resume_step = 120;
  EXPECT_THAT(JudgeAttempt(evidence, absl::Time()).move.message, HasSubstr("after step 120"));
}

TEST(AttemptVerdict, ACrashIsTriedAgainAfterALittleWhile) {
  AttemptEvidence evidence{.state = JobState::kRunning, .exit = {.signal = 6}};
  EXPECT_EQ(JudgeAttempt(evidence, absl::Time()).move.not_before, absl::FromUnixSeconds(1));
  EXPECT_EQ(JudgeAttempt(evidence, absl::Time()).move.crashes, 1);
  evidence.crashes = 1;
  EXPECT_EQ(JudgeAttempt(evidence, absl::Time()).move.not_before, absl::FromUnixSeconds(2));
  evidence.made_progress = true;
  EXPECT_EQ(JudgeAttempt(evidence, absl::Time()).move.crashes, 0);
}

TEST(AttemptVerdict, TheLastFailureSaysWhatHappened) {
  const AttemptVerdict verdict = JudgeAttempt({.state = JobState::kRunning,
                                               .attempt = 3,
                                               .crashes = 2,
                                               .exit = {.signal = 11},
                                               .log_tail = "out of paper\n"},
                                              absl::Time());
  EXPECT_THAT(verdict.move.message, HasSubstr("signal 11 (SIGSEGV)"));
  EXPECT_THAT(verdict.move.message, HasSubstr("out of paper"));
  EXPECT_THAT(verdict.move.hint, HasSubstr("ftctl logs"));
  EXPECT_THAT(verdict.move.hint, HasSubstr("--gradient-checkpointing on"));
  EXPECT_EQ(verdict.move.attempt, 3);
}

TEST(AttemptVerdict, AnUnknownFailureReasonIsADefect) {
  AttemptEvidence evidence{.state = JobState::kRunning, .end = Ended(End::FAILED)};
  for (const int reason : {0, 9999}) {
    evidence.end->set_failure_reason(static_cast<v1::FailureReason>(reason));
    EXPECT_EQ(JudgeAttempt(evidence, absl::Time()).move.failure_reason, "INTERNAL");
  }
}

}  // namespace
}  // namespace ftd
