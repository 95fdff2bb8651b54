#include "lib/data/dataset_files.h"

#include <fnmatch.h>

#include <algorithm>
#include <system_error>

#include "lib/base/concat.h"
#include "lib/base/error.h"
#include "lib/base/utf8.h"
#include "lib/data/rows/byte_stream.h"
#include "lib/data/rows/row.h"
#include "lib/data/splits.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

struct Extension {
  std::string_view text;
  DatasetFormat format;
};
constexpr Extension kExtensions[] = {
    {".json", DatasetFormat::kJson},   {".jsonl", DatasetFormat::kJson},
    {".ndjson", DatasetFormat::kJson}, {".csv", DatasetFormat::kCsv},
    {".tsv", DatasetFormat::kTsv},     {".parquet", DatasetFormat::kParquet},
    {".arrow", DatasetFormat::kArrow},
};
constexpr char kReadable[] =
    ".json, .jsonl, .csv, .tsv (each also with .gz or .zst), .parquet and .arrow are read";

// Files that `datasets` passes over, or writes beside the rows.
constexpr std::string_view kNoData[] = {"config.json", "dataset_info.json", "dataset_infos.json",
                                        "dataset_dict.json", "state.json"};

// By the last extension but for .gz and .zst: "rows.jsonl.gz" is JSON.
const Extension* FindExtension(std::string_view name) {
  const std::string extension = fs::path(WithoutCompression(name)).extension().string();
  const auto* found = std::find_if(std::begin(kExtensions), std::end(kExtensions),
                                   [&](const Extension& known) { return known.text == extension; });
  return found == std::end(kExtensions) ? nullptr : found;
}

bool IsData(const fs::path& path) {
  const std::string name = path.filename().string();
  return FindExtension(name) != nullptr &&
         std::find(std::begin(kNoData), std::end(kNoData), name) == std::end(kNoData);
}

absl::Status NotFound(std::string_view name, std::string_view what) {
  return Error(Reason::kDatasetNotFound, Concat("dataset ", name, " ", what));
}

// Returns whether one part of a glob matches a folder's or a file's name. Hidden names and folders
// such as __pycache__ have to be asked for, as in `datasets`.
bool PartMatches(const char* pattern, const std::string& name, bool is_folder) {
  if (is_folder && name.starts_with("__") && !std::string_view(pattern).starts_with("__"))
    return false;
  return ::fnmatch(pattern, name.c_str(), FNM_PERIOD) == 0;
}

// Returns whether the parts of a glob match those of a path: each part one name, ** any number of
// folders, none included, and as the last part also a file.
bool PartsMatch(fs::path::const_iterator pattern, const fs::path::const_iterator& pattern_end,
                fs::path::const_iterator part, const fs::path::const_iterator& part_end) {
  if (pattern == pattern_end || part == part_end) return pattern == pattern_end && part == part_end;
  const bool any_depth = *pattern == "**";
  const bool is_folder = std::next(part) != part_end;
  // ** as no folder at all; below, it takes this part and stays.
  if (any_depth && PartsMatch(std::next(pattern), pattern_end, part, part_end)) return true;
  if (!PartMatches(any_depth ? "*" : pattern->c_str(), part->string(), is_folder)) return false;
  ++part;
  if (any_depth && part == part_end) return std::next(pattern) == pattern_end;
  if (!any_depth) ++pattern;
  return PartsMatch(pattern, pattern_end, part, part_end);
}

// Matches relative paths against a glob's parts, from part `first` of the pattern on.
class GlobSearch {
 public:
  GlobSearch(const fs::path& pattern, fs::path root) : root_(std::move(root)) {
    for (const fs::path& part : pattern) parts_.push_back(part.string());
  }
  std::vector<LocalDatasetFile> Run() {
    Visit(root_, 0);
    return std::move(found_);
  }

 private:
  void Visit(const fs::path& directory, size_t first) {
    if (first == parts_.size()) return;
    const bool any_depth = parts_[first] == "**";
    // ** as no folder: the rest of the pattern is tried here too. A file found twice is removed by
    // DataFilesOf.
    if (any_depth && first + 1 < parts_.size()) Visit(directory, first + 1);
    std::error_code error;
    for (fs::directory_iterator it(directory, error), end; !error && it != end;
         it.increment(error)) {
      std::error_code ignored;
      const bool is_folder = it->is_directory(ignored);
      // A link to a folder may lead round in a circle.
      if (is_folder && any_depth && it->is_symlink(ignored)) continue;
      const char* part = any_depth ? "*" : parts_[first].c_str();
      if (!PartMatches(part, it->path().filename().string(), is_folder)) continue;
      if (is_folder) {
        Visit(it->path(), any_depth ? first : first + 1);
      } else if (first + 1 == parts_.size() && it->is_regular_file(ignored)) {
        found_.push_back({it->path().lexically_relative(root_).string(), it->path()});
      }
    }
  }

  const fs::path root_;
  std::vector<std::string> parts_;
  std::vector<LocalDatasetFile> found_;
};

}  // namespace

bool MatchesGlob(const std::string& pattern, const std::string& relative) {
  const fs::path globs(pattern), parts(relative);
  return PartsMatch(globs.begin(), globs.end(), parts.begin(), parts.end());
}

bool IsGlob(const std::string& name) { return name.find_first_of("*?[") != std::string::npos; }

absl::StatusOr<DatasetFormat> FormatOfName(std::string_view name) {
  const Extension* extension = FindExtension(name);
  if (extension != nullptr) return extension->format;
  if (!fs::path(WithoutCompression(name)).has_extension()) return DatasetFormat::kJson;
  return DatasetInvalid(Concat(name, ": ", kReadable, "; rename the file if it is one of these"));
}

absl::StatusOr<std::vector<LocalDatasetFile>> DataFilesOf(std::vector<LocalDatasetFile> files,
                                                          const std::string& name) {
  std::erase_if(files, [](const auto& file) { return !IsData(file.path); });
  if (files.empty()) return NotFound(name, Concat("holds no data files: ", kReadable));
  // By bytes, not by locale: the order of rows must not depend on the machine.
  const auto by_path = [](const auto& a, const auto& b) {
    return a.path.native() < b.path.native();
  };
  std::sort(files.begin(), files.end(), by_path);
  const auto same = [](const auto& a, const auto& b) { return a.path == b.path; };
  files.erase(std::unique(files.begin(), files.end(), same), files.end());
  for (const LocalDatasetFile& file : files) {
    if (!IsValidUtf8(file.path.native())) {
      return DatasetInvalid(Concat(name, " holds a file whose name is not UTF-8: ",
                                   EscapeInvalidUtf8(file.path.native()), "; rename it"));
    }
    if (FindExtension(file.name)->format == FindExtension(files[0].name)->format) continue;
    return DatasetInvalid(Concat(name, " holds files of several formats, such as ", files[0].name,
                                 " and ", file.name, "; name those of one format by a glob"));
  }
  return files;
}

absl::StatusOr<std::vector<LocalDatasetFile>> FindDatasetFiles(const std::string& name) {
  const fs::path path(name);
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (fs::is_directory(status)) {
    FTD_ASSIGN_OR_RETURN(auto files, DataFilesOf(GlobSearch("**", path).Run(), name));
    return FilesOfSplit(std::move(files), "train", name);
  }
  if (status.type() != fs::file_type::not_found) {
    if (error) return ErrnoError(error.value(), Concat("dataset ", name));
    // It is read more than once: for its hash, its rows, and again after a restart.
    if (!fs::is_regular_file(status)) {
      return DatasetInvalid(
          Concat("dataset ", name,
                 " is not a regular file but a pipe or a device; write the rows to a file first"));
    }
    FTD_RETURN_IF_ERROR(FormatOfName(path.filename().string()).status());
    return std::vector<LocalDatasetFile>{{path.filename().string(), path}};
  }
  if (!IsGlob(name)) return NotFound(name, "does not exist");
  fs::path root;
  // The root is the part before the first wildcard: nothing above it need be read.
  fs::path pattern;
  for (const fs::path& part : path) {
    (pattern.empty() && !IsGlob(part.string()) ? root : pattern) /= part;
  }
  return DataFilesOf(GlobSearch(pattern, root.empty() ? fs::path(".") : root).Run(), name);
}

}  // namespace ftd
