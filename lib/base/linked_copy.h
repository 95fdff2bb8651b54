// A second name for a file.
#pragma once

#include <filesystem>

#include "absl/status/status.h"

namespace ftd {

// Makes `to`, which must not exist, the same file as `from`, or a copy of it where the file system
// has no links. Its bytes are durable then, its name once the directory is synced.
absl::Status LinkOrCopy(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace ftd
