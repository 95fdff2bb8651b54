#include "lib/hub/model_finder.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "lib/base/contained_file.h"
#include "lib/base/error.h"
#include "lib/base/nearest.h"
#include "lib/hub/fetch.h"
#include "lib/hub/find_revision.h"
#include "lib/hub/selection.h"
#include "lib/hub/transport/cache.h"
#include "lib/spec/aliases.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

absl::StatusOr<FoundModel> FindOnHub(const hub::Settings& settings, const hub::RepoId& repo,
                                     const std::string& revision, const HubWarning& warn) {
  FTD_ASSIGN_OR_RETURN(const hub::RepoRevision info, FindRevision(settings, repo, revision, warn));
  const hub::Cache cache(settings.cache_dir);
  FoundModel found;
  // The cache is ftd's own: where it is reached by a link, nobody else has put that there.
  found.dir = WithoutLinks(cache.Snapshot(repo, info.commit));
  found.name = repo.name;
  found.revision = info.commit;
  found.source = info;
  // Only the small files are fetched here: they are what a submit is judged by. The weights are
  // left to the worker, or the daemon's prefetcher.
  if (info.files.empty()) return found;  // the hub could not be asked
  FTD_ASSIGN_OR_RETURN(found.source, hub::ModelFiles(info));
  FTD_RETURN_IF_ERROR(hub::CheckDisk(cache, *found.source));
  FTD_RETURN_IF_ERROR(hub::FetchFiles(settings, hub::FindToken(settings), cache,
                                      hub::WithoutWeights(*found.source),
                                      {.patience = hub::kSubmitPatience}));
  found.is_complete = hub::HasFiles(cache, *found.source);
  return found;
}

}  // namespace

// insert keeps the user's alias where a built-in one has the same name.
ModelFinder::ModelFinder(std::map<std::string, std::string> aliases, HubWarning warn)
    : aliases_([&aliases] {
        aliases.insert(hub::BuiltInAliases().begin(), hub::BuiltInAliases().end());
        return std::move(aliases);
      }()),
      warn_(std::move(warn)) {}

absl::Status ModelFinder::Unknown(const std::string& model) const {
  std::vector<std::string> names;
  for (const auto& [name, unused] : aliases_) names.push_back(name);
  const std::string nearest = Nearest(model, names);
  return Error(
      Reason::kModelNotFound,
      absl::StrCat("model \"", model, "\": ",
                   fs::path(model).is_absolute()
                       ? "the server has no such directory that you may name"
                       : "neither an alias, nor OWNER/NAME on the hub, nor an absolute path",
                   nearest.empty() ? "" : absl::StrCat("; did you mean ", nearest, "?"),
                   "\nThe aliases are:\n  ", absl::StrJoin(names, "\n  ")));
}

// A directory on this machine comes before the hub. canonical: the link may point elsewhere
// tomorrow.
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
    found.is_configured = alias != aliases_.end();
    return found;
  }
  FTD_ASSIGN_OR_RETURN(const hub::RepoId repo, FindRepo(model));
  return FindOnHub(hub::SettingsFromEnvironment(), repo, revision, warn_);
}

bool ModelFinder::IsOnHub(const std::string& model) const {
  const auto alias = aliases_.find(model);
  return !fs::path(alias == aliases_.end() ? model : alias->second).is_absolute();
}

absl::StatusOr<hub::RepoId> ModelFinder::FindRepo(const std::string& model) const {
  const auto alias = aliases_.find(model);
  const std::string& target = alias == aliases_.end() ? model : alias->second;
  if (!hub::IsRepoName(target)) return Unknown(model);
  return hub::RepoId{hub::RepoType::kModel, target};
}

}  // namespace ftd
