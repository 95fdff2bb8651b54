#include "server/requests/model_catalog.h"

#include <algorithm>
#include <limits>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "lib/base/error.h"
#include "lib/hub/catalog.h"
#include "lib/hub/fetch.h"
#include "lib/hub/sources.h"
#include "server/jobs/job_states.h"

namespace ftd {
namespace {

// Jobs that may still read from the cache.
std::vector<JobState> LivingStates() {
  std::vector<JobState> states(std::begin(kAllJobStates), std::end(kAllJobStates));
  std::erase_if(states, [](JobState state) { return IsFinal(state); });
  return states;
}

v1::Model::Type ToWire(hub::RepoType type) {
  return type == hub::RepoType::kModel ? v1::Model::MODEL : v1::Model::DATASET;
}

// The newest: a long queue may be of one model.
void AddJobs(const std::vector<std::string>& newest_first, v1::Model* model) {
  constexpr size_t kMost = 100;
  for (size_t i = 0; i < std::min(newest_first.size(), kMost); ++i)
    model->add_used_by_jobs(newest_first[i]);
}

hub::Cache TheCache() { return hub::Cache(hub::SettingsFromEnvironment().cache_dir); }

}  // namespace

// The cache is keyed by repository, so a name is resolved by the alias table without asking the
// hub.
absl::StatusOr<hub::RepoId> ModelCatalog::Named(const std::string& name,
                                                v1::Model::Type type) const {
  if (type != v1::Model::DATASET) return finder_.FindRepo(name);
  if (hub::IsRepoName(name)) return hub::RepoId{hub::RepoType::kDataset, name};
  return Error(Reason::kDatasetNotFound,
               absl::StrCat("dataset \"", name, "\" is not spelled OWNER/NAME"));
}

absl::StatusOr<std::map<std::string, std::vector<std::string>>> ModelCatalog::JobsByRepo() const {
  std::map<std::string, std::vector<std::string>> jobs_by_repo;
  constexpr int64_t kAll = std::numeric_limits<int64_t>::max();
  // All living jobs, in one query.
  FTD_ASSIGN_OR_RETURN(const std::vector<Job> jobs, store_.List(kAll, LivingStates(), kAll));
  for (const Job& job : jobs) {
    if (job.sources_json.empty()) continue;
    FTD_ASSIGN_OR_RETURN(const hub::Sources sources, hub::SourcesFromJson(job.sources_json));
    for (const hub::RepoRevision& revision : sources.repos)
      jobs_by_repo[hub::Described(revision.repo)].push_back(job.id);
  }
  return jobs_by_repo;
}

absl::StatusOr<v1::ListModelsResponse> ModelCatalog::List() const {
  FTD_ASSIGN_OR_RETURN(const auto jobs_by_repo, JobsByRepo());
  // Aliases by the repository or directory that they stand for.
  std::map<std::string, std::vector<std::string>> aliases;  // of what they stand for
  for (const auto& [alias, target] : finder_.aliases()) aliases[target].push_back(alias);
  v1::ListModelsResponse response;
  for (const hub::CachedRepo& cached : hub::ListCache(TheCache())) {
    v1::Model& model = *response.add_models();
    model.set_name(cached.repo.name);
    model.set_type(ToWire(cached.repo.type));
    model.set_size_bytes(cached.size_bytes);
    model.set_revision(cached.main_commit);
    for (const std::string& commit : cached.commits) model.add_revisions(commit);
    if (const auto jobs = jobs_by_repo.find(hub::Described(cached.repo));
        jobs != jobs_by_repo.end())
      AddJobs(jobs->second, &model);
    if (cached.repo.type != hub::RepoType::kModel) continue;
    for (const std::string& alias : aliases[cached.repo.name]) model.add_aliases(alias);
    aliases.erase(cached.repo.name);
  }
  // Aliases whose model is not in the cache: shown, because they can be used.
  for (const auto& [target, names] : aliases) {
    v1::Model& model = *response.add_models();
    model.set_name(target);
    model.set_type(v1::Model::MODEL);
    for (const std::string& alias : names) model.add_aliases(alias);
  }
  return response;
}

absl::StatusOr<v1::DeleteModelResponse> ModelCatalog::Delete(
    const v1::DeleteModelRequest& request) const {
  FTD_ASSIGN_OR_RETURN(const hub::RepoId repo, Named(request.model(), request.type()));
  FTD_ASSIGN_OR_RETURN(const auto jobs_by_repo, JobsByRepo());
  // A queued job is bound to files that are here; its worker would have to fetch them again.
  if (const auto jobs = jobs_by_repo.find(hub::Described(repo)); jobs != jobs_by_repo.end()) {
    return Error(Reason::kStateConflict, absl::StrCat(hub::Described(repo), " is used by ",
                                                      absl::StrJoin(jobs->second, ", "),
                                                      "; cancel the job, or wait for its end"));
  }
  v1::DeleteModelResponse response;
  FTD_ASSIGN_OR_RETURN(const int64_t freed, hub::RemoveRepo(TheCache(), repo));
  response.set_freed_bytes(freed);
  return response;
}

// Finds and fetches as a job would, so that a job that follows has nothing left to fetch.
absl::StatusOr<v1::PullModelResponse> ModelCatalog::Pull(const v1::PullModelRequest& request,
                                                         const ClientTaskControls& controls) const {
  FTD_RETURN_IF_ERROR(
      Named(request.model(), v1::Model::MODEL).status());  // not a directory's alias
  FTD_ASSIGN_OR_RETURN(const FoundModel found, finder_.Find(request.model(), request.revision()));
  const hub::Settings settings = hub::SettingsFromEnvironment();
  if (!found.is_complete) {
    FTD_RETURN_IF_ERROR(hub::FetchFiles(
        settings, hub::FindToken(settings), hub::Cache(settings.cache_dir), *found.source,
        {.progress = controls.progress, .cancelled = controls.cancelled}));
  }
  v1::PullModelResponse response;
  response.set_path(found.dir);
  response.set_revision(found.revision);
  return response;
}

absl::StatusOr<v1::VerifyModelResponse> ModelCatalog::Verify(
    const v1::VerifyModelRequest& request, const ClientTaskControls& controls) const {
  FTD_ASSIGN_OR_RETURN(const hub::RepoId repo, Named(request.model(), request.type()));
  FTD_ASSIGN_OR_RETURN(const std::vector<std::string> damaged,
                       hub::VerifyRepo(
                           TheCache(), repo,
                           [&](int64_t done, int64_t total) {
                             controls.progress({done, total, 0});
                           },
                           controls.cancelled));
  v1::VerifyModelResponse response;
  response.set_done(true);
  for (const std::string& file : damaged) response.add_damaged_files(file);
  return response;
}

}  // namespace ftd
