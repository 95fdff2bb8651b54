#include "lib/hub/find_revision.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/hub/transport/cache.h"
#include "lib/hub/transport/http_client.h"

namespace ftd {
namespace {

constexpr char kDefaultRevision[] = "main";
constexpr int kRetries = 2;

// Returns what the cache has of a revision, for when the hub cannot be asked; `why` is the reason.
// Without the hub the list of files stays empty.
absl::StatusOr<hub::RepoRevision> FindInCache(const hub::Cache& cache, const hub::RepoId& repo,
                                              const std::string& revision,
                                              const absl::Status& why) {
  const std::string commit = cache.ReadRef(repo, revision);
  std::error_code error;
  if (commit.empty() || !std::filesystem::is_directory(cache.Snapshot(repo, commit), error)) {
    return Prefixed(why, absl::StrCat(hub::Described(repo), " is not in the cache ",
                                      cache.root().string(), ", and "));
  }
  return hub::RepoRevision{repo, commit, {}};
}

}  // namespace

absl::StatusOr<hub::RepoRevision> FindRevision(const hub::Settings& settings,
                                               const hub::RepoId& repo, std::string revision,
                                               const HubWarning& warn) {
  if (revision.empty()) revision = kDefaultRevision;
  const hub::Cache cache(settings.cache_dir);
  if (settings.offline) {
    return FindInCache(cache, repo, revision,
                       Error(Reason::kHubOffline,
                             "HF_HUB_OFFLINE forbids to fetch it; unset it, or bring the files and "
                             "name their directory"));
  }
  hub::HttpClient http;
  auto found = hub::GetRevision(http, settings, hub::FindToken(settings), repo, revision, kRetries);
  // A hub that does not answer must not stop a job whose files are all here. Any other answer
  // counts.
  if (absl::IsUnavailable(found.status())) {
    warn(absl::StrCat(hub::Described(repo), ": ", found.status().message()));
    return FindInCache(cache, repo, revision,
                       Prefixed(found.status(), "the hub cannot be reached: "));
  }
  FTD_RETURN_IF_ERROR(found.status());
  // Noted, so that the same branch is found without the hub next time.
  FTD_RETURN_IF_ERROR(cache.WriteRef(repo, revision, found->commit));
  return found;
}

}  // namespace ftd
