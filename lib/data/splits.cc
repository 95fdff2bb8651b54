#include "lib/data/splits.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <set>
#include <string_view>

#include "absl/strings/str_join.h"
#include "lib/base/concat.h"
#include "lib/data/rows/row.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

enum class Split { kNone, kTrain, kValidation, kTest };
struct Keyword {
  std::string_view text;
  Split split;
};
// SPLIT_KEYWORDS of datasets/data_files.py.
constexpr Keyword kKeywords[] = {
    {"train", Split::kTrain},      {"training", Split::kTrain}, {"validation", Split::kValidation},
    {"valid", Split::kValidation}, {"dev", Split::kValidation}, {"val", Split::kValidation},
    {"test", Split::kTest},        {"testing", Split::kTest},   {"eval", Split::kTest},
    {"evaluation", Split::kTest}};

bool IsDigit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }

bool IsSeparator(char c) { return c == '-' || c == '.' || c == '_' || c == ' ' || IsDigit(c); }

// Returns whether `part`, a folder's or a file's name, has the keyword as a word. In a file's name
// the word is followed by a separator: "train.jsonl", "my-train-00001.jsonl".
bool HasKeyword(std::string_view part, std::string_view keyword, bool is_file) {
  for (size_t at = part.find(keyword); at != std::string_view::npos;
       at = part.find(keyword, at + 1)) {
    const size_t end = at + keyword.size();
    const bool begins = at == 0 || IsSeparator(part[at - 1]);
    const bool ends = end == part.size() ? !is_file : IsSeparator(part[end]);
    if (begins && ends) return true;
  }
  return false;
}

// Returns the split that a name stands for. It may have words of several splits; train counts
// first, as in `datasets`.
Split SplitOf(std::string_view part, bool is_file) {
  Split split = Split::kNone;
  for (const Keyword& keyword : kKeywords) {
    if (split != Split::kTrain && HasKeyword(part, keyword.text, is_file)) split = keyword.split;
  }
  return split;
}

// Returns the split that a path's folders stand for; train counts first here as well.
Split SplitOfFolders(const std::string& relative) {
  Split split = Split::kNone;
  for (const fs::path& part : fs::path(relative).parent_path()) {
    const Split found = SplitOf(part.string(), /*is_file=*/false);
    if (split != Split::kTrain && found != Split::kNone) split = found;
  }
  return split;
}

Split SplitOfFileName(const std::string& relative) {
  return SplitOf(fs::path(relative).filename().string(), /*is_file=*/true);
}

Split SplitNamed(const std::string& name) {
  const auto* found = std::find_if(std::begin(kKeywords), std::end(kKeywords),
                                   [&](const Keyword& keyword) { return keyword.text == name; });
  return found == std::end(kKeywords) ? Split::kNone : found->split;
}

// Returns whether a file is called "SPLIT-00000-of-00001…", as the hub's own conversion calls them,
// whatever the split.
bool IsShardOf(const std::string& relative, const std::string& split) {
  constexpr size_t kDigits = 5;
  const std::string name = fs::path(relative).filename().string();
  size_t at = split.size();
  const auto digits = [&] {
    const bool all = name.size() >= at + kDigits &&
                     std::all_of(name.begin() + at, name.begin() + at + kDigits, IsDigit);
    at += kDigits;
    return all;
  };
  const auto text = [&](std::string_view expected) {
    const bool same = name.compare(at, expected.size(), expected) == 0;
    at += expected.size();
    return same;
  };
  return name.starts_with(split) && text("-") && digits() && text("-of-") && digits();
}

}  // namespace

absl::StatusOr<std::vector<LocalDatasetFile>> FilesOfSplit(std::vector<LocalDatasetFile> files,
                                                           const std::string& split,
                                                           const std::string& where) {
  // These names are certain, so no other rule is asked if there are any.
  std::vector<LocalDatasetFile> shards;
  std::copy_if(files.begin(), files.end(), std::back_inserter(shards),
               [&](const auto& file) { return IsShardOf(file.name, split); });
  if (!shards.empty()) return shards;
  const Split wanted = SplitNamed(split);
  const auto none = [&] {
    if (wanted == Split::kTrain) {
      return DatasetInvalid(Concat(where,
                                   ": all files are named as a validation or test split; name "
                                   "those to train on by a glob, or their split"));
    }
    return DatasetInvalid(Concat(where, ": no file is named as one of the split \"", split,
                                 "\"; name another split, or the files by a glob"));
  };
  // The first rule that says something about any file decides about all files.
  for (const auto split_of : {SplitOfFolders, SplitOfFileName}) {
    const auto is_named = [&](const auto& file) { return split_of(file.name) != Split::kNone; };
    if (std::none_of(files.begin(), files.end(), is_named)) continue;
    if (wanted == Split::kNone) return none();
    std::erase_if(files, [&](const auto& file) { return split_of(file.name) != wanted; });
    if (files.empty()) return none();
    return files;
  }
  // If no name distinguishes splits, all rows are for training.
  if (wanted != Split::kTrain) return none();
  return files;
}

// A repository without a card may have a folder for each configuration.
absl::StatusOr<std::vector<LocalDatasetFile>> FilesOfConfig(std::vector<LocalDatasetFile> files,
                                                            const std::string& config,
                                                            const std::string& where) {
  // A folder at the top is a configuration, unless its name is a split's or "data".
  std::set<std::string> folders;
  bool elsewhere = false;
  for (const LocalDatasetFile& file : files) {
    const std::string folder = file.name.substr(0, std::min(file.name.find('/'), file.name.size()));
    const bool is_config = folder != file.name && folder != "data" &&
                           SplitOf(folder, /*is_file=*/false) == Split::kNone;
    is_config ? static_cast<void>(folders.insert(folder)) : static_cast<void>(elsewhere = true);
  }
  const std::string known = absl::StrJoin(folders, ", ");
  if (config.empty()) {
    // A single folder is not a choice; neither are folders beside files of their own.
    if (elsewhere || folders.size() < 2) return files;
    return DatasetInvalid(Concat(where, " has several configurations; choose one of ", known,
                                 " with --dataset-config"));
  }
  std::erase_if(files, [&](const auto& file) { return !file.name.starts_with(config + "/"); });
  if (files.empty()) {
    return DatasetInvalid(Concat(where, " has no configuration \"", config, "\"",
                                 known.empty() ? "" : "; it has ", known));
  }
  return files;
}

}  // namespace ftd
