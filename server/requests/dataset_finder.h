// Finds a job's rows: uploads, files on the server, or a repository of the hub.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/data/dataset_reader.h"
#include "lib/hub/dataset_finder.h"
#include "lib/spec/dataset_spec.h"
#include "server/host/state_dir.h"
#include "server/requests/caller.h"

namespace ftd {

// Thread-safe.
class DatasetFinder {
 public:
  // `state_dir` must outlive it. `roots`: folders whose files may be named.
  DatasetFinder(const StateDir& state_dir, std::vector<std::string> roots)
      : state_dir_(state_dir), roots_(std::move(roots)) {}

  // Fills in what only the server knows: the files and the bytes that the job is bound to. Errors:
  // INVALID_ARGUMENT FIELD_INVALID, DATASET_INVALID, NOT_FOUND DATASET_NOT_FOUND, PERMISSION_DENIED
  // NOT_OWNER for a file of a root that the caller may not read, and for the hub those of
  // GetRevision (lib/hub/transport/repo.h).
  absl::StatusOr<FoundDataset> Find(DatasetSpec& dataset, const Caller& caller) const;

  // The files and rules of a dataset that Find has completed, as its rows are read for a model.
  DatasetOptions OptionsOf(const DatasetSpec& dataset,
                           const std::filesystem::path& model_dir) const;

 private:
  absl::StatusOr<FoundDataset> FindUploads(const DatasetSpec& dataset) const;
  absl::StatusOr<std::vector<DatasetFile>> FindServerFiles(const std::string& name,
                                                           const Caller& caller) const;
  bool IsUnderARoot(const std::filesystem::path& real) const;

  const StateDir& state_dir_;
  const std::vector<std::string> roots_;
};

}  // namespace ftd
