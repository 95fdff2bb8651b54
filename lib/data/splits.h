// Chooses the files of a dataset that belong to a split, by the rules of Hugging Face's `datasets`.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/data/dataset_files.h"

namespace ftd {

// The files of `split`, in their order. Names such as SPLIT-00000-of-00001 decide; else the words
// train, validation, dev, test, … in folders' names, then in files' names; and where no name
// distinguishes splits, all is for training. INVALID_ARGUMENT DATASET_INVALID when none is left;
// `where` is for the message.
absl::StatusOr<std::vector<LocalDatasetFile>> FilesOfSplit(std::vector<LocalDatasetFile> files,
                                                           const std::string& split,
                                                           const std::string& where);

// The files of a configuration: those below the folder of that name. Without a name: all, unless
// there are several folders that are not splits; then DATASET_INVALID names them.
absl::StatusOr<std::vector<LocalDatasetFile>> FilesOfConfig(std::vector<LocalDatasetFile> files,
                                                            const std::string& config,
                                                            const std::string& where);

}  // namespace ftd
