// A dataset repository's card, its README.md: which files make up which configuration and split,
// where the YAML in front of its text says so, by the rules of Hugging Face's `datasets`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/data/dataset_files.h"

namespace ftd::hub {

struct CardSplit {
  std::string name;
  std::vector<std::string> patterns;  // globs, relative to the repository
};

// Without splits, the names of the files below data_dir decide.
struct CardConfig {
  std::string name;
  bool is_default = false;
  std::string data_dir;  // "" or "DIR/"
  std::vector<CardSplit> splits;
};

// The card's `configs`, in its order; none when it has no YAML or declares none. INVALID_ARGUMENT
// DATASET_INVALID when they are not what `datasets` takes; `where` names the dataset in messages.
absl::StatusOr<std::vector<CardConfig>> ConfigsOfCard(std::string_view readme,
                                                      const std::string& where);

// Returns those of a repository's files that belong to a configuration's split, in the order of
// their rows. Without a name: the default configuration, or the only one. Requires: `configs` is
// not empty. DATASET_INVALID: no such configuration or split, which the message lists, or no file
// matches.
absl::StatusOr<std::vector<LocalDatasetFile>> FilesOfCard(const std::vector<CardConfig>& configs,
                                                          std::vector<LocalDatasetFile> files,
                                                          const std::string& config,
                                                          const std::string& split,
                                                          const std::string& where);

}  // namespace ftd::hub
