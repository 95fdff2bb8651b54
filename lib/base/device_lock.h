// The lock by which the processes that compute on one device take turns: the daemon's workers and
// ft-train alike. flock(2), so that it ends with the process that holds it.
#pragma once

#include <filesystem>

#include "absl/status/statusor.h"
#include "lib/base/file.h"

namespace ftd {

// Returns the file to lock for a GPU: the node of the first one that this process may use, such as
// /dev/nvidia0; another where a container has only that. Empty without one. No driver library is
// loaded and nothing is opened. `dev` is another folder in tests.
std::filesystem::path GpuLockFile(const std::filesystem::path& dev = "/dev");

// Locks a file, waiting for whoever holds it; makes one that is not there, but never below `dev`: a
// plain file in a node's place would be a lock of its own, and in the way of the node. The
// descriptor holds the lock. Errors: ErrnoError's.
absl::StatusOr<Fd> LockFile(const std::filesystem::path& path,
                            const std::filesystem::path& dev = "/dev");
// The same without waiting. UNAVAILABLE: another process holds it.
absl::StatusOr<Fd> TryLockFile(const std::filesystem::path& path,
                               const std::filesystem::path& dev = "/dev");

}  // namespace ftd
