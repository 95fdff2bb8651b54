// Sends a dataset file to ftd.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "client/connection.h"
#include "ftd/v1/job.pb.h"

namespace ftd {

// Hashes `path`, sends its bytes unless ftd has them, and names them in `dataset` by sha256 and
// file name. Progress of a big file is shown on stderr when that is a terminal. NOT_FOUND
// DATASET_NOT_FOUND when there is no such file; INVALID_ARGUMENT when it is a directory; DATA_LOSS
// when it changed while it was sent.
absl::Status UploadDataset(Connection& connection, const std::string& path,
                           ftd::v1::Dataset* dataset);

}  // namespace ftd
