// A worker that trains nothing: it looks at rows, or puts a result into another form. It keeps what
// files do to parsers, and torch, out of the daemon.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ftd/v1/worker.pb.h"
#include "lib/base/file.h"

namespace ftd {

// What the worker reported.
struct SideWork {
  v1::WorkerEvent::End end;
  std::optional<v1::DataReport> report;  // where rows are good
  std::vector<std::string> warnings;
};

// Who waits for it.
struct SideWorkObserver {
  std::function<bool()> go_on;                        // asked ten times a second
  std::function<void(const v1::Progress&)> progress;  // may be empty
};

// Runs `worker` in `dir`, which has its request and whose worker.lock is held, until it ends, or
// `go_on` returns false. CANCELLED: `go_on` said no. INTERNAL: it ended without a report. The
// worker does not outlive the calling thread.
absl::StatusOr<SideWork> RunSideWorker(const std::string& worker, const std::filesystem::path& dir,
                                       Fd lock, const SideWorkObserver& observer);

// OK for a worker that did what it had to do; else why not, with the reason of its end.
absl::Status StatusOf(const v1::WorkerEvent::End& end);

}  // namespace ftd
