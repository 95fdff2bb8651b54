// Makes the directory of a new attempt.
#pragma once

#include <filesystem>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "ftd/v1/worker.pb.h"
#include "lib/base/file.h"
#include "server/attempts/attempt_files.h"
#include "server/attempts/device.h"
#include "server/host/state_dir.h"
#include "server/jobs/job.h"

namespace ftd {

struct PreparedAttempt {
  std::filesystem::path dir;
  Attempt attempt;  // number, resumed_from
  Fd lock;          // worker.lock, held
};

// Creates the directory of attempt `number` with request.json and a held worker.lock, and chooses
// the checkpoint to resume from. `rollbacks`: how many attempts before it were rolled back. What a
// daemon that died at this point had left there is removed: no worker was started in it. A
// checkpoint that cannot be read is as `unreadable` says. `progress` is called while the checkpoint
// is read.
absl::StatusOr<PreparedAttempt> PrepareAttempt(const StateDir& state_dir, const Job& job,
                                               int32_t number, int32_t rollbacks,
                                               const Device& device, Unreadable unreadable,
                                               const std::function<void()>& progress);

// Writes request.json for a look at a job's rows (row_check.h) into an empty directory. Returns the
// held worker.lock.
absl::StatusOr<Fd> PrepareRowCheck(const StateDir& state_dir, const Job& job,
                                   const MemoryRoom& room, const std::filesystem::path& dir);

// The same for an export of a job's result: `base` is the model's directory, or, of a full job, the
// result's.
absl::StatusOr<Fd> PrepareExport(const StateDir& state_dir, const Job& job,
                                 const std::filesystem::path& dir,
                                 const v1::AttemptRequest::ResultExport& asked,
                                 const std::string& base);

// Writes `request` into a directory in which a side worker is to run (side_worker.h), and returns
// the held worker.lock.
absl::StatusOr<Fd> PrepareSideWork(const std::filesystem::path& dir,
                                   const v1::AttemptRequest& request);

// True when somebody holds the attempt's lock: a living worker, or what it left behind. An error
// when that cannot be told now.
absl::StatusOr<bool> WorkerLives(const std::filesystem::path& attempt_dir);

}  // namespace ftd
