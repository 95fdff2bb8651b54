// Finds the worker of an attempt that an earlier daemon started.
#pragma once

#include <filesystem>

#include "absl/status/statusor.h"
#include "server/attempts/worker_process.h"
#include "server/jobs/job.h"

namespace ftd {

// Returns the living worker of an attempt. NOT_FOUND: it is gone, and processes that it had started
// and that still held its lock were killed. Any other error: that cannot be told now.
absl::StatusOr<WorkerProcess> FindWorker(const Attempt& attempt, const std::filesystem::path& dir);

// Kills the processes that hold the lock of an attempt whose worker is gone: those that it started
// and that left its process group. They would keep memory and the device.
void KillLeftovers(const std::filesystem::path& dir);

}  // namespace ftd
