// The hub client by itself: fetches every file of a repository, as ftd and ft-worker do for those
// that they need.
//
// usage: hub_fetch model|dataset OWNER/NAME [REVISION [PATIENCE_S]]
//
// Prints the snapshot's directory. On failure: the reason and the message, tab-separated, on
// stderr; exit status 1. With HF_HUB_OFFLINE it prints what the cache has.
#include <cstdlib>
#include <iostream>
#include <string>

#include "lib/base/error.h"
#include "lib/hub/fetch.h"
#include "lib/hub/transport/http_client.h"
#include "lib/hub/transport/repo.h"
#include "lib/hub/transport/settings.h"

namespace ftd::hub {
namespace {

absl::StatusOr<std::filesystem::path> Fetch(const RepoId& repo, const std::string& revision,
                                            absl::Duration patience) {
  const Settings settings = SettingsFromEnvironment();
  const std::string token = FindToken(settings);
  const Cache cache(settings.cache_dir);
  if (settings.offline) return cache.Snapshot(repo, cache.ReadRef(repo, revision));
  HttpClient http;
  FTD_ASSIGN_OR_RETURN(const RepoRevision found,
                       GetRevision(http, settings, token, repo, revision, /*retries=*/3));
  FTD_RETURN_IF_ERROR(cache.WriteRef(repo, revision, found.commit));
  FTD_RETURN_IF_ERROR(FetchFiles(settings, token, cache, found, {.patience = patience}));
  return cache.Snapshot(repo, found.commit);
}

}  // namespace
}  // namespace ftd::hub

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const bool model = std::string(argv[1]) == "model";
  const auto path = ftd::hub::Fetch(
      {model ? ftd::hub::RepoType::kModel : ftd::hub::RepoType::kDataset, argv[2]},
      argc > 3 ? argv[3] : "main", absl::Seconds(argc > 4 ? std::atof(argv[4]) : 60));
  if (path.ok()) {
    std::cout << path->string() << std::endl;
    return 0;
  }
  std::cerr << ftd::ReasonNameOf(path.status()) << "\t" << path.status().message() << std::endl;
  return 1;
}
