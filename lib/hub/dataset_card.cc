#include "lib/hub/dataset_card.h"

#include <algorithm>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "lib/base/error.h"
#include "lib/data/rows/row.h"
#include "lib/data/splits.h"
#include "lib/hub/front_matter.h"
#include "yaml-cpp/yaml.h"

namespace ftd::hub {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxYamlBytes = 1 << 20;

// Reports a card's mistake with its line. Caught in ConfigsOfCard, as YAML's own exceptions are.
[[noreturn]] void Complain(const YAML::Node& node, const std::string& what) {
  throw YAML::Exception(node.Mark(), what);
}

std::string Text(const YAML::Node& node, const char* what) {
  if (!node.IsScalar()) Complain(node, absl::StrCat(what, " must be a text"));
  return node.Scalar();
}

// Returns the patterns of a node that is one pattern or a list of them. The card comes from
// outside: none may lead out of the snapshot.
std::vector<std::string> Patterns(const YAML::Node& node, const std::string& data_dir) {
  std::vector<std::string> patterns;
  const auto add = [&](const YAML::Node& pattern) {
    const fs::path path = (data_dir / fs::path(Text(pattern, "a path"))).lexically_normal();
    if (path.is_absolute() || (!path.empty() && *path.begin() == ".."))
      Complain(pattern, absl::StrCat("\"", path.string(), "\" leads out of the repository"));
    patterns.push_back(path.string());
  };
  if (node.IsSequence()) {
    for (const YAML::Node& pattern : node) add(pattern);
  } else {
    add(node);
  }
  return patterns;
}

// Returns the splits of `data_files`: patterns of the train split, or a list of {split, path}.
std::vector<CardSplit> Splits(const YAML::Node& data_files, const std::string& data_dir) {
  std::vector<CardSplit> splits;
  const bool named =
      data_files.IsSequence() && std::any_of(data_files.begin(), data_files.end(),
                                             [](const YAML::Node& item) { return item.IsMap(); });
  if (!named) return {{"train", Patterns(data_files, data_dir)}};
  for (const YAML::Node& item : data_files) {
    if (!item.IsMap() || !item["split"] || !item["path"])
      Complain(item, "each of data_files must have split and path");
    splits.push_back({Text(item["split"], "split"), Patterns(item["path"], data_dir)});
  }
  return splits;
}

CardConfig Config(const YAML::Node& node) {
  if (!node.IsMap()) Complain(node, "each of configs must be a map");
  CardConfig config;
  // Names and defaults as in the MetadataConfigs of `datasets`.
  config.name = node["config_name"] ? Text(node["config_name"], "config_name") : "default";
  config.is_default = config.name == "default" || (node["default"] && node["default"].as<bool>());
  if (node["data_dir"]) {
    const fs::path dir = fs::path(Text(node["data_dir"], "data_dir")).lexically_normal();
    if (dir.is_absolute() || (!dir.empty() && *dir.begin() == ".."))
      Complain(node["data_dir"], "data_dir leads out of the repository");
    if (!dir.empty() && dir != ".") config.data_dir = (dir / "").string();
  }
  if (node["data_files"]) config.splits = Splits(node["data_files"], config.data_dir);
  return config;
}

template <typename Things>
std::string Names(const Things& things) {
  return absl::StrJoin(things, ", ",
                       [](std::string* out, const auto& thing) { *out += thing.name; });
}

// Without a name: the only configuration, else the one that is the default.
absl::StatusOr<const CardConfig*> Find(const std::vector<CardConfig>& configs,
                                       const std::string& name, const std::string& where) {
  if (name.empty() && configs.size() == 1) return &configs[0];
  for (const CardConfig& config : configs) {
    if (name.empty() ? config.is_default : config.name == name) return &config;
  }
  if (name.empty()) {
    return DatasetInvalid(absl::StrCat(where, " has several configurations; choose one of ",
                                       Names(configs), " with --dataset-config"));
  }
  return DatasetInvalid(
      absl::StrCat(where, " has no configuration \"", name, "\"; it has ", Names(configs)));
}

}  // namespace

absl::StatusOr<std::vector<CardConfig>> ConfigsOfCard(std::string_view readme,
                                                      const std::string& where) {
  const std::string yaml = FrontMatter(readme);
  if (yaml.size() > kMaxYamlBytes)
    return DatasetInvalid(absl::StrCat(where, ": README.md: more than 1 MiB of YAML"));
  std::vector<CardConfig> configs;
  try {
    const YAML::Node card = YAML::Load(yaml);
    if (!card.IsMap() || !card["configs"] || card["configs"].IsNull()) return configs;
    if (!card["configs"].IsSequence()) Complain(card["configs"], "configs must be a list");
    for (const YAML::Node& node : card["configs"]) configs.push_back(Config(node));
  } catch (const YAML::Exception& error) {
    return DatasetInvalid(absl::StrCat(where, ": README.md line ", error.mark.line + 1, ": ",
                                       error.msg,
                                       "; the card cannot be read: download the files and submit "
                                       "them with --dataset"));
  }
  return configs;
}

absl::StatusOr<std::vector<LocalDatasetFile>> FilesOfCard(const std::vector<CardConfig>& configs,
                                                          std::vector<LocalDatasetFile> files,
                                                          const std::string& config,
                                                          const std::string& split,
                                                          const std::string& where) {
  FTD_ASSIGN_OR_RETURN(const CardConfig* found, Find(configs, config, where));
  // A configuration that names no files has those below its data_dir, and their names decide about
  // splits.
  if (found->splits.empty()) {
    std::erase_if(files, [&](const auto& f) { return !f.name.starts_with(found->data_dir); });
    FTD_ASSIGN_OR_RETURN(files, DataFilesOf(std::move(files), where));
    return FilesOfSplit(std::move(files), split, where);
  }
  std::vector<LocalDatasetFile> chosen;
  for (const CardSplit& candidate : found->splits) {
    if (candidate.name != split) continue;
    // In the order of the patterns, as `datasets` reads them.
    for (const std::string& pattern : candidate.patterns) {
      std::vector<LocalDatasetFile> matching;
      std::copy_if(files.begin(), files.end(), std::back_inserter(matching),
                   [&](const auto& file) { return MatchesGlob(pattern, file.name); });
      const std::string source = absl::StrCat(where, ": ", pattern, ", which its card names,");
      FTD_ASSIGN_OR_RETURN(matching, DataFilesOf(std::move(matching), source));
      chosen.insert(chosen.end(), matching.begin(), matching.end());
    }
    return chosen;
  }
  return DatasetInvalid(
      absl::StrCat(where, " has no split \"", split, "\"; it has ", Names(found->splits)));
}

}  // namespace ftd::hub
