// From what a user names (a file, a directory or a glob) to the files whose rows are read, in the
// order in which Hugging Face's `datasets` reads them.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace ftd {

enum class DatasetFormat { kJson, kCsv, kTsv, kParquet, kArrow };

// Returns whether only Arrow's readers read the format.
constexpr bool IsColumnar(DatasetFormat format) {
  return format == DatasetFormat::kParquet || format == DatasetFormat::kArrow;
}

// Returns the format that a file's name promises, a compression's extension aside. A name without
// an extension means kJson. INVALID_ARGUMENT DATASET_INVALID, naming the extensions that are read,
// for any other one.
absl::StatusOr<DatasetFormat> FormatOfName(std::string_view name);

// A file of a dataset that somebody can read here.
struct LocalDatasetFile {
  std::string name;  // for messages: relative to the directory or glob, else its own name
  std::filesystem::path path;
};

// Files in the order of their paths' bytes. A directory is searched to its bottom; a glob knows *,
// ?, [] and ** (any number of directories). In both, hidden files and folders, folders that begin
// with "__", and files of other extensions are passed over; and where names distinguish splits
// (train, validation, dev, test, …, as `datasets` knows them), a directory stands for its train
// split alone.
//
// NOT_FOUND DATASET_NOT_FOUND: there is no such file, or none that is data. DATASET_INVALID: an
// unknown extension, files of several formats, or a directory whose files all belong to other
// splits.
absl::StatusOr<std::vector<LocalDatasetFile>> FindDatasetFiles(const std::string& name);

// Returns the data files among those that a search found in `name`, sorted, each once. Errors:
// those of FindDatasetFiles about the files' formats.
absl::StatusOr<std::vector<LocalDatasetFile>> DataFilesOf(std::vector<LocalDatasetFile> files,
                                                          const std::string& name);

// Returns whether a glob, as FindDatasetFiles knows them, matches a relative path.
bool MatchesGlob(const std::string& pattern, const std::string& relative);

// Returns whether `name` is a pattern and not a file's own name.
bool IsGlob(const std::string& name);

}  // namespace ftd
