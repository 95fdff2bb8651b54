// What users do to jobs that are queued or run.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "server/job_store.h"

namespace ftd {

// CANCELLED at once when no worker has it, else CANCELLING, and the runner does the rest. A job
// that is cancelled or being cancelled is left as it is. FAILED_PRECONDITION STATE_CONFLICT:
// SUCCEEDED or FAILED.
absl::StatusOr<Job> CancelJob(JobStore& store, const std::string& job, const std::string& reason);

// QUEUED to HELD; a held job is left as it is. FAILED_PRECONDITION STATE_CONFLICT.
absl::StatusOr<Job> HoldJob(JobStore& store, const std::string& job);

// HELD to QUEUED; a queued job is left as it is. FAILED_PRECONDITION STATE_CONFLICT.
absl::StatusOr<Job> ReleaseJob(JobStore& store, const std::string& job);

}  // namespace ftd
