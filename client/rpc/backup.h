// Brings a copy of ftd's database home.
#pragma once

#include <cstdint>
#include <filesystem>

#include "absl/status/statusor.h"
#include "client/rpc/connection.h"

namespace ftd {

// Streams a copy of the database into `file`, mode 0600, and returns its size in bytes. `file` is
// replaced by the whole copy, flushed to disk, or stays as it is: until then the bytes are in
// a new file beside it. DATA_LOSS for damaged bytes.
absl::StatusOr<int64_t> BackUpDatabase(Connection& connection, const std::filesystem::path& file);

}  // namespace ftd
