// The consequence of an attempt's end for the job: a pure function of what the worker left.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "ftd/v1/worker.pb.h"
#include "server/attempts/worker_process.h"
#include "server/jobs/job.h"
#include "server/jobs/job_store.h"

namespace ftd {

// Attempts in a row that may crash without progress before the job fails.
inline constexpr int32_t kMaxCrashes = 3;

// No job waits longer for its next attempt, unless the disk has no room for it.
inline constexpr absl::Duration kLongestBackoff = absl::Minutes(2);

// What there is of an attempt's result.
enum class ResultEvidence {
  kNone,
  kComplete,    // it lies in the attempt's directory
  kPublishing,  // its publication was decided on, and may have been done
};

// The facts that are known once the worker is gone.
struct AttemptEvidence {
  JobState state = JobState::kPreparing;  // of the job
  bool keep = false;                      // of the job
  int32_t attempt = 0;
  int32_t crashes = 0;  // of the job, before this attempt
  std::optional<v1::WorkerEvent::End> end;
  ExitStatus exit;
  ResultEvidence result = ResultEvidence::kNone;
  bool made_progress = false;  // a new greatest step or a new checkpoint
  bool asked_to_stop = false;  // by the daemon
  int64_t resume_step = 0;     // of the newest checkpoint; 0: none
  std::string daemon_cause;    // why it could not be started; empty otherwise
  bool never_started = false;  // the daemon died before it had started a worker
  bool hung = false;           // it was killed because it stood still
  absl::Duration time_limit;   // that the job has used up; 0: it has not
  std::string job_name;        // for people
  bool disk_is_full = false;   // so much that the worker could not have said so
  std::string log_tail;        // of worker.log
};

struct AttemptVerdict {
  AttemptState attempt_state = AttemptState::kCrashed;
  std::string attempt_reason;
  Move move;             // of the job; its result_dir is left to the caller
  bool publish = false;  // the result is to be published before the job is moved
  bool disk_was_full = false;
};

// The end of a job that has used up its time. `resume_step`: of its newest checkpoint; 0: none.
Move TimeLimitMove(absl::Duration limit, const std::string& job_name, int64_t resume_step);

// A retry after a crash waits from `now`: 1 s, then 2 s; 30 s, then 120 s where memory ran short,
// and at most 30 s where the disk is full (Move::space_wanted is the caller's to fill in).
AttemptVerdict JudgeAttempt(const AttemptEvidence& evidence, absl::Time now);

}  // namespace ftd
