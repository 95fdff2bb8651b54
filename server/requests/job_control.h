// The actions of users on jobs that are queued or run. Every refusal for the job's state is
// FAILED_PRECONDITION STATE_CONFLICT, and says what can be done instead.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/host/state_dir.h"
#include "server/jobs/job_store.h"

namespace ftd {

// CANCELLED at once when no worker has it, else CANCELLING, and the runner does the rest. A job
// that is cancelled or being cancelled is left as it is, but that what it was to keep is given up.
// Refused: SUCCEEDED or FAILED. A job whose result is being published is left as it is, in this and
// the next two: it succeeds.
absl::StatusOr<Job> CancelJob(JobStore& store, const std::string& job, const std::string& reason);

// Ends a job with the result of what it has learned. CANCELLING when a worker has it, and the
// runner has the worker make the result; else QUEUED at the head, for an attempt that makes it of
// the newest checkpoint. A job that is on this way is left as it is. Refused: there is nothing to
// make a result of; the job has ended otherwise, or is being cancelled.
absl::StatusOr<Job> CancelJobAndKeep(JobStore& store, const StateDir& state_dir,
                                     const std::string& job, const std::string& reason);

// PAUSING, and the runner does the rest; a job that is paused or being paused is left as it is.
// Refused: it has no worker, or is being cancelled.
absl::StatusOr<Job> PauseJob(JobStore& store, const std::string& job);

// PAUSED to QUEUED; a queued job is left as it is.
absl::StatusOr<Job> ResumeJob(JobStore& store, const std::string& job);

// QUEUED to HELD; a held job is left as it is.
absl::StatusOr<Job> HoldJob(JobStore& store, const std::string& job);

// HELD to QUEUED; a queued job is left as it is.
absl::StatusOr<Job> ReleaseJob(JobStore& store, const std::string& job);

// Forgets a job: its directory, with `results` also the published result, then its rows. Refused:
// it has not ended. One that fails half-way may be called again.
absl::Status DeleteJob(JobStore& store, const StateDir& state_dir, const std::string& job,
                       bool results);

// The changes that UpdateJob makes; the rest stays.
struct JobChanges {
  std::optional<int32_t> priority;
  std::map<std::string, std::string> labels;
  std::vector<std::string> remove_labels;  // before `labels` are set
  std::optional<int64_t> time_limit_seconds;
};

// Refused: the job has ended. INVALID_ARGUMENT FIELD_INVALID.
absl::StatusOr<Job> UpdateJob(JobStore& store, const std::string& job, const JobChanges& changes);

}  // namespace ftd
