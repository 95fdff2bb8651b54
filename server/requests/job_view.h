// A job as the API shows it: its row in the store with the content of its attempts' directories.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "ftd/v1/job.pb.h"
#include "server/host/state_dir.h"
#include "server/jobs/job_store.h"

namespace ftd {

// Everything. Reads the newest attempt's logs.
absl::StatusOr<v1::Job> ViewJob(JobStore& store, const StateDir& state_dir, const Job& job);

// For lists: without attempts, checkpoints, warnings and data report; the logs are read only while
// an attempt is active.
absl::StatusOr<v1::Job> ViewJobBriefly(JobStore& store, const StateDir& state_dir, const Job& job);

// A QUEUED job as its row tells, for whoever knows its place in the queue, whether a job has the
// device, and whether the queue is drained. Reads nothing.
v1::Job ViewQueuedJob(const Job& job, int64_t position, bool device_busy, bool drained);

}  // namespace ftd
