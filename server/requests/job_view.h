// A job as the API shows it: its row in the store with the content of its attempts' directories.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "ftd/v1/job.pb.h"
#include "server/host/state_dir.h"
#include "server/jobs/job_store.h"

namespace ftd {

// Everything. Reads the newest attempt's logs.
absl::StatusOr<v1::Job> ViewJob(JobStore& store, const StateDir& state_dir, const Job& job);

// For lists: without attempts, checkpoints and warnings; the logs are read only while an attempt is
// active.
absl::StatusOr<v1::Job> ViewJobBriefly(JobStore& store, const StateDir& state_dir, const Job& job);

}  // namespace ftd
