// Any bytes as the YAML of a dataset's card. What it chooses are files of the repository.
#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "lib/hub/dataset_card.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view yaml(reinterpret_cast<const char*>(data), size);
  std::string readme = "---\n";
  readme.append(yaml).append("\n---\n");
  const auto configs = ftd::hub::ConfigsOfCard(readme, "dataset ann/rows");
  if (!configs.ok() || configs->empty()) return 0;
  const std::vector<ftd::LocalDatasetFile> files = {
      {"README.md", "README.md"}, {"train.jsonl", "train.jsonl"}, {"data/a.jsonl", "data/a.jsonl"}};
  for (const auto& config : *configs) {
    const std::string split = config.splits.empty() ? "train" : config.splits[0].name;
    const auto chosen = ftd::hub::FilesOfCard(*configs, files, config.name, split, "ann/rows");
    if (!chosen.ok()) continue;
    for (const auto& file : *chosen) {
      const auto is_it = [&](const auto& known) { return known.name == file.name; };
      if (std::none_of(files.begin(), files.end(), is_it)) std::abort();
    }
  }
  return 0;
}
