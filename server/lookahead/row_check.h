// A look at rows by a worker that trains nothing. It keeps Arrow, and whatever a file does to a
// parser, out of the daemon.
#pragma once

#include <filesystem>
#include <string>

#include "absl/status/statusor.h"
#include "lib/plan/fit.h"
#include "server/attempts/side_worker.h"
#include "server/host/state_dir.h"
#include "server/jobs/job.h"

namespace ftd {

// Runs `worker` in `dir`, which is made and removed, until it has tokenised the job's rows into the
// cache and has seen whether it fits into `room`, or `go_on` returns false. Errors:
// RunSideWorker's.
absl::StatusOr<SideWork> CheckRows(const std::string& worker, const StateDir& state_dir,
                                   const std::filesystem::path& dir, const Job& job,
                                   const MemoryRoom& room, const SideWorkObserver& observer);

}  // namespace ftd
