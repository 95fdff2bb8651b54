// Where a job's result is, or why it is not there.
#pragma once

#include "absl/status/status.h"
#include "server/jobs/job_store.h"

namespace ftd {

// RESULT_PRUNED, with when and by whom; OK also for a job that has no result yet.
absl::Status CheckNotPruned(JobStore& store, const Job& job);

// FAILED_PRECONDITION STATE_CONFLICT when the job has none.
absl::Status CheckHasResult(const Job& job);

}  // namespace ftd
