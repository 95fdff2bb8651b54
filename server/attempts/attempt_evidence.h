// Reads the traces of an attempt, for its judgement.
#pragma once

#include "absl/status/statusor.h"
#include "server/attempts/attempt_verdict.h"
#include "server/host/state_dir.h"
#include "server/jobs/job_store.h"

namespace ftd {

// Gathers what the store and the attempt's directory say. Fills in the steps that `attempt`
// recorded. How the process ended and what the daemon did to it is for the caller to add. An error
// when something cannot be read now: then nothing can be judged.
absl::StatusOr<AttemptEvidence> GatherEvidence(JobStore& store, const StateDir& state_dir,
                                               const Job& job, Attempt& attempt);

}  // namespace ftd
