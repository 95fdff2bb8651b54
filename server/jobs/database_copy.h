// A copy of the database while it is in use.
#pragma once

#include <filesystem>
#include <functional>

#include "absl/status/statusor.h"
#include "lib/base/file.h"

namespace ftd {

// Copies the database at `path`, as it is at one moment, with SQLite's backup API: neither readers
// nor the writer wait. Returns the copy, open at its start; it has no name and goes when it is
// closed. It was made in `scratch_dir`, under a name with kUnfinishedMark. `go_on` is asked every
// few MiB; false: CANCELLED. Errors: DB_BUSY, DB_IO, DB_CORRUPT, DISK_FULL.
absl::StatusOr<Fd> CopyDatabase(const std::filesystem::path& path,
                                const std::filesystem::path& scratch_dir,
                                const std::function<bool()>& go_on);

}  // namespace ftd
