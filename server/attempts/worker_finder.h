// Finds the worker of an attempt that an earlier daemon started.
#pragma once

#include <filesystem>

#include "absl/status/statusor.h"
#include "server/attempts/worker_process.h"
#include "server/jobs/job.h"

namespace ftd {

// Returns the living worker of an attempt. NOT_FOUND: it is gone, and what it left was killed. Any
// other error: that cannot be told now.
absl::StatusOr<WorkerProcess> FindWorker(const Attempt& attempt, const std::filesystem::path& dir);

// Kills what an attempt whose worker is gone has left: the processes that hold its lock or that
// have inherited its environment, whatever session they are in. They would keep memory and the
// device. Control groups, which a container cannot make, are not needed for it.
void KillLeftovers(const std::filesystem::path& dir);

}  // namespace ftd
