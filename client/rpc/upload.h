// Sends a dataset's files to ftd.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "client/rpc/connection.h"
#include "ftd/v1/job.pb.h"

namespace ftd {

// Hashes the files that `name` stands for (a file, a directory, a glob), sends the bytes that ftd
// does not have, and names them in `dataset` by sha256 and file name. Progress of a big file is
// shown on stderr when that is a terminal. Errors: FindDatasetFiles'
// (lib/data/dataset_files.h); DATA_LOSS when a file changed while it was sent.
absl::Status UploadDataset(Connection& connection, const std::string& name,
                           ftd::v1::Dataset* dataset);

}  // namespace ftd
