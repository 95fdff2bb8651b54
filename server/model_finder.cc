#include "server/model_finder.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "artifacts/error.h"
#include "artifacts/hub/aliases.h"
#include "artifacts/hub/cache.h"
#include "artifacts/hub/fetch.h"
#include "artifacts/hub/http_client.h"
#include "artifacts/hub/selection.h"
#include "server/log.h"
#include "server/nearest.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

constexpr char kDefaultRevision[] = "main";
// Somebody waits for the answer to a submit.
constexpr int kRetries = 2;
constexpr double kPatienceSeconds = 20;

FoundModel AtCommit(const hub::Cache& cache, const hub::RepoId& repo, const std::string& commit) {
  FoundModel found;
  found.dir = cache.Snapshot(repo, commit);
  found.name = repo.name;
  found.revision = commit;
  found.source = hub::RepoRevision{repo, commit, {}};
  return found;
}

// What the cache has of a revision, when the hub cannot be asked; `why` says why not.
absl::StatusOr<FoundModel> FindInCache(const hub::Cache& cache, const hub::RepoId& repo,
                                       const std::string& revision, const absl::Status& why) {
  const std::string commit = cache.ReadRef(repo, revision);
  std::error_code error;
  if (commit.empty() || !fs::is_directory(cache.Snapshot(repo, commit), error)) {
    return Prefixed(why, absl::StrCat(hub::Described(repo), " is not in the cache ",
                                      cache.root().string(), ", and "));
  }
  return AtCommit(cache, repo, commit);
}

absl::StatusOr<FoundModel> FindOnHub(const hub::Settings& settings, const hub::RepoId& repo,
                                     const std::string& revision) {
  const hub::Cache cache(settings.cache_dir);
  if (settings.offline) {
    return FindInCache(cache, repo, revision,
                       Error(absl::StatusCode::kFailedPrecondition, "HUB_OFFLINE",
                             "HF_HUB_OFFLINE forbids to fetch it; unset it, or bring the model's "
                             "directory and name that"));
  }
  const std::string token = hub::FindToken(settings);
  hub::HttpClient http;
  const auto info = hub::GetRevision(http, settings, token, repo, revision, kRetries);
  if (absl::IsUnavailable(info.status())) {
    LogWarning(hub::Described(repo), ": ", std::string(info.status().message()));
    return FindInCache(cache, repo, revision,
                       Prefixed(info.status(), "the hub cannot be reached: "));
  }
  FTD_RETURN_IF_ERROR(info.status());
  FTD_ASSIGN_OR_RETURN(const hub::RepoRevision wanted, hub::ModelFiles(*info));
  FTD_RETURN_IF_ERROR(hub::CheckDisk(cache, wanted));
  FTD_RETURN_IF_ERROR(hub::FetchFiles(settings, token, cache, hub::WithoutWeights(wanted),
                                      {.patience_seconds = kPatienceSeconds}));
  FTD_RETURN_IF_ERROR(cache.WriteRef(repo, revision, wanted.commit));
  FoundModel found = AtCommit(cache, repo, wanted.commit);
  found.is_complete = hub::HasFiles(cache, wanted);
  found.source = wanted;
  return found;
}

}  // namespace

ModelFinder::ModelFinder(std::map<std::string, std::string> aliases)
    : aliases_([&aliases] {
        aliases.insert(hub::BuiltInAliases().begin(), hub::BuiltInAliases().end());
        return std::move(aliases);
      }()) {}

absl::Status ModelFinder::Unknown(const std::string& model) const {
  std::vector<std::string> names;
  for (const auto& [name, unused] : aliases_) names.push_back(name);
  const std::string nearest = Nearest(model, names);
  return Error(
      absl::StatusCode::kNotFound, "MODEL_NOT_FOUND",
      absl::StrCat("model \"", model, "\": ",
                   fs::path(model).is_absolute()
                       ? "the server has no such directory"
                       : "neither an alias, nor OWNER/NAME on the hub, nor an absolute path",
                   nearest.empty() ? "" : absl::StrCat("; did you mean ", nearest, "?"),
                   " (aliases: ", absl::StrJoin(names, ", "), ")"));
}

absl::StatusOr<FoundModel> ModelFinder::Find(const std::string& model,
                                             const std::string& revision) const {
  const auto alias = aliases_.find(model);
  const std::string& target = alias == aliases_.end() ? model : alias->second;
  std::error_code error;
  if (fs::path(target).is_absolute() && fs::is_directory(target, error)) {
    FoundModel found;
    found.dir = fs::canonical(target, error);
    found.name = model;
    found.revision = revision;
    return found;
  }
  FTD_ASSIGN_OR_RETURN(const hub::RepoId repo, FindRepo(model));
  return FindOnHub(hub::SettingsFromEnvironment(), repo,
                   revision.empty() ? kDefaultRevision : revision);
}

absl::StatusOr<hub::RepoId> ModelFinder::FindRepo(const std::string& model) const {
  const auto alias = aliases_.find(model);
  const std::string& target = alias == aliases_.end() ? model : alias->second;
  if (!hub::IsRepoName(target)) return Unknown(model);
  return hub::RepoId{hub::RepoType::kModel, target};
}

}  // namespace ftd
