// Which files of a repository its card assigns to a configuration and a split.
//
// usage: card_files < {"readme": TEXT, "files": [PATH…], "config": NAME, "split": NAME}
//
// Prints the paths, a line each; or the message on stderr, with exit status 1.
#include <iostream>
#include <iterator>

#include "lib/base/error.h"
#include "lib/hub/dataset_card.h"
#include "nlohmann/json.hpp"

namespace ftd::hub {
namespace {

absl::StatusOr<std::vector<LocalDatasetFile>> Choose(const nlohmann::json& request) {
  FTD_ASSIGN_OR_RETURN(const auto configs,
                       ConfigsOfCard(request["readme"].get<std::string>(), "dataset ann/rows"));
  if (configs.empty()) return absl::NotFoundError("the card declares no configurations");
  std::vector<LocalDatasetFile> files;
  for (const std::string path : request["files"]) files.push_back({path, path});
  return FilesOfCard(configs, std::move(files), request["config"], request["split"],
                     "dataset ann/rows");
}

}  // namespace
}  // namespace ftd::hub

int main() {
  const std::string text{std::istreambuf_iterator<char>(std::cin), {}};
  const auto files = ftd::hub::Choose(nlohmann::json::parse(text));
  if (!files.ok()) {
    std::cerr << files.status().message() << "\n";
    return 1;
  }
  for (const auto& file : *files) std::cout << file.name << "\n";
  return 0;
}
