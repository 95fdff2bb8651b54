// Rows from a dataset repository of the hub.
#pragma once

#include <filesystem>
#include <optional>

#include "absl/status/statusor.h"
#include "lib/hub/find_revision.h"
#include "lib/hub/transport/repo.h"
#include "lib/spec/dataset_spec.h"

namespace ftd {

struct FoundDataset {
  std::filesystem::path path;  // for people: the first upload, what the user named, the snapshot
  std::optional<hub::RepoRevision> source;  // what has to be fetched from the hub
};

// Chooses the files of `dataset.hub` by configuration and split, pins its commit and their bytes,
// and names them in `dataset.files`. Large files, whose sha256 the hub gives, are left to the
// worker; small ones are fetched. Offline, or when the hub does not answer, the cache is used.
absl::StatusOr<FoundDataset> FindHubDataset(DatasetSpec& dataset, const HubWarning& warn);

}  // namespace ftd
