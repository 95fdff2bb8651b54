// Publishing a result: the attempt's result/ becomes results/<name or id>.
//
// The attempt's file `publishing`, which names the place, is written first. From then on the job
// succeeds, whatever else happens: it is asked to be cancelled, or the daemon dies before or after
// the rename.
#pragma once

#include <filesystem>

#include "absl/status/statusor.h"
#include "server/attempts/attempt_verdict.h"
#include "server/host/state_dir.h"
#include "server/jobs/job.h"

namespace ftd {

// Returns where the job's result is published, unless something else lies there by then.
std::filesystem::path PublishedResult(const StateDir& state_dir, const Job& job);

// Looks for the result of an attempt that has ended. An error when that cannot be told now.
absl::StatusOr<ResultEvidence> FindResult(const StateDir& state_dir, const Job& job,
                                          const std::filesystem::path& attempt_dir);

// Returns whether the publication of an attempt's result was decided on.
absl::StatusOr<bool> IsPublishing(const std::filesystem::path& attempt_dir);

// Renames `attempt_dir`/result to its place, durably, and returns the place. Idempotent: what was
// done before, by a daemon that died after it, is only made durable. If it cannot be done now, the
// decision is taken back.
absl::StatusOr<std::filesystem::path> PublishResult(const StateDir& state_dir, const Job& job,
                                                    const std::filesystem::path& attempt_dir);

}  // namespace ftd
