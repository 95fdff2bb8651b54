// The disk space that an attempt needs, looked at before it is started: a job that finds the disk
// full half-way has wasted its time, and would be followed by the next.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "server/host/state_dir.h"
#include "server/jobs/job.h"

namespace ftd {

// The least that an attempt writes, in bytes: a checkpoint and the result. 0 where the model cannot
// be read, which is for the attempt to report.
int64_t BytesOfAttempt(const Job& job);

// RESOURCE_EXHAUSTED DISK_RESERVE when that would not fit on the disk even if nothing else were
// there.
absl::Status CheckCanFit(const StateDir& state_dir, const Job& job);

// The disk has so little room that a worker may not even be able to say so.
bool IsDiskFull(const StateDir& state_dir);

struct Shortage {
  int64_t wanted = 0;   // bytes to be free where the state directory is
  std::string message;  // for the job
};

// Returns what keeps an attempt from being started: `at_least` bytes or what it needs are not free
// for its checkpoint and result, or what it has to fetch does not fit into the hub's cache. None
// where there is room, or where that cannot be told.
std::optional<Shortage> FindShortage(const StateDir& state_dir, const Job& job, int64_t at_least);

// Returns the bytes that are to be free before a job is tried again that found the disk full: more
// than are free now.
int64_t SpaceWantedAfterFullDisk(const StateDir& state_dir, const Job& job);

}  // namespace ftd
