// Brings a job's result home.
#pragma once

#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "client/rpc/connection.h"

namespace ftd {

// FAILED_PRECONDITION PATH_NOT_WRITABLE when `directory` cannot become a result's: it exists and is
// not an empty directory, or is the working directory. Called before anything is paid for.
absl::Status CheckResultDirectory(const std::filesystem::path& directory);

// Streams the result of a job, or a form of it, into `directory`.part, checks each file's size and
// sha256, and renames: `directory` holds the whole result or does not appear. What an earlier,
// broken download left in `directory`.part is removed first. DATA_LOSS for damaged bytes;
// INVALID_ARGUMENT reason PATH_REFUSED for a file name that would leave the directory.
absl::Status DownloadResult(Connection& connection, const v1::DownloadResultRequest& request,
                            const std::filesystem::path& directory);
// Streams the result of a job, by its id or name.
absl::Status DownloadResult(Connection& connection, const std::string& job,
                            const std::filesystem::path& directory);

}  // namespace ftd
