// How long a job's attempts may take together: Job::time_limit_seconds.
#pragma once

#include <filesystem>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/host/state_dir.h"
#include "server/jobs/job_store.h"

namespace ftd {

// Infinite for a job without a limit, and for one that is only to make the result of its steps.
absl::Duration TimeLimitOf(const Job& job);

// What the attempts that are over took.
absl::Duration TimeTaken(const std::vector<Attempt>& attempts);

// Returns how long the worker of an attempt ran that nobody saw end: until its last sign of life.
absl::Duration LifeOf(const std::filesystem::path& attempt_dir, const Attempt& attempt);

// Ends a queued job that has no time left for another attempt.
absl::Status EndForTime(JobStore& store, const StateDir& state_dir, const Job& job);

}  // namespace ftd
