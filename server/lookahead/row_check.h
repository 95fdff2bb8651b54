// A look at a job's rows by a worker that trains nothing. It keeps Arrow, and whatever a file does
// to a parser, out of the daemon.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "ftd/v1/worker.pb.h"
#include "server/host/state_dir.h"
#include "server/jobs/job.h"

namespace ftd {

// Runs `worker` on the job's rows until it ends or `go_on`, which is called ten times a second,
// returns false. With `first_rows` > 0 only so many are read; else all are tokenised into the
// cache. Returns what the worker reported. CANCELLED: `go_on` said no. INTERNAL: it ended without a
// report.
absl::StatusOr<v1::WorkerEvent::End> CheckRows(const std::string& worker, const StateDir& state_dir,
                                               const Job& job, int64_t first_rows,
                                               const std::function<bool()>& go_on);

}  // namespace ftd
