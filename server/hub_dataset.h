// Rows from a dataset repository of the hub.
#pragma once

#include "absl/status/statusor.h"
#include "artifacts/dataset_spec.h"
#include "server/dataset_finder.h"

namespace ftd {

// Chooses the files of `dataset.hub` by configuration and split, pins its commit and their bytes,
// and names them in `dataset.files`. Large files, whose sha256 the hub tells, are left to the
// worker; small ones are fetched. Offline, or when the hub does not answer, the cache is used.
absl::StatusOr<FoundDataset> FindHubDataset(DatasetSpec& dataset);

}  // namespace ftd
