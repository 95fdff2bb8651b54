// Publishing a result: the attempt's result/ becomes results/<name or id>.
#pragma once

#include <filesystem>

#include "absl/status/statusor.h"
#include "server/host/state_dir.h"
#include "server/jobs/job.h"
#include "server/jobs/job_store.h"

namespace ftd {

// Returns the place of the job's result, present or future.
std::filesystem::path PublishedResult(const StateDir& state_dir, const Job& job);

// True when Publish has, or had, something to publish.
bool HasResult(const StateDir& state_dir, const Job& job, const std::filesystem::path& attempt_dir);

// Renames `attempt_dir`/result to its place, durably. Idempotent: when that was done before (a
// daemon died right after it) it is fine; names are unique, so what lies there is this job's.
// Returns the place.
absl::StatusOr<std::filesystem::path> PublishResult(const StateDir& state_dir, const Job& job,
                                                    const std::filesystem::path& attempt_dir);

// Publishes the result of the attempt that `success`, a move to SUCCEEDED, names, and returns that
// move with the result's place; or, when it cannot be published, the move to FAILED that says why.
Move PublishedMove(const StateDir& state_dir, const Job& job, Move success);

}  // namespace ftd
