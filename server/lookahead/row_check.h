// A look at rows by a worker that trains nothing. It keeps Arrow, and whatever a file does to a
// parser, out of the daemon.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ftd/v1/worker.pb.h"
#include "server/host/state_dir.h"
#include "server/jobs/job.h"

namespace ftd {

// What the worker reported.
struct RowCheck {
  v1::WorkerEvent::End end;
  std::optional<v1::DataReport> report;  // where the rows are good
  std::vector<std::string> warnings;
};

// Who waits for it.
struct RowCheckObserver {
  std::function<bool()> go_on;                        // asked ten times a second
  std::function<void(const v1::Progress&)> progress;  // may be empty
};

// Runs `worker` in `dir`, which is made and removed, until it has tokenised the job's rows into the
// cache, or `go_on` returns false. CANCELLED: `go_on` said no. INTERNAL: it ended without a report.
absl::StatusOr<RowCheck> CheckRows(const std::string& worker, const StateDir& state_dir,
                                   const std::filesystem::path& dir, const Job& job,
                                   const RowCheckObserver& observer);

}  // namespace ftd
