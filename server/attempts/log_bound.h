// The bound of worker.log: a worker that writes without end must not fill the disk.
#pragma once

#include <cstdint>
#include <filesystem>

#include "absl/status/statusor.h"

namespace ftd {

// A log that takes more than the first of these on the disk keeps the last so many bytes.
inline constexpr int64_t kMostLogBytes = 64 << 20, kKeptLogBytes = 16 << 20;

// Gives the older part of such a log back to the filesystem. It becomes a hole, so that positions
// in the log stay what they were, and whoever appends notices nothing. Returns how many bytes went;
// 0 also where the filesystem cannot make holes.
absl::StatusOr<int64_t> BoundLog(const std::filesystem::path& log);

// The position of the first byte of the log from `offset` on that is still there.
int64_t KeptFrom(int log, int64_t offset);

}  // namespace ftd
