#include "lib/hub/sources.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "nlohmann/json.hpp"

namespace ftd::hub {
namespace {

using Json = nlohmann::json;

int64_t TotalBytes(const RepoRevision& revision) {
  int64_t total = 0;
  for (const RepoFile& file : revision.files) total += file.size;
  return total;
}

// {"type", "name", "commit", "files": [{"path", "size", "etag"}]}
Json ToJson(const RepoRevision& revision) {
  Json files = Json::array();
  for (const RepoFile& file : revision.files)
    files.push_back({{"path", file.path}, {"size", file.size}, {"etag", file.etag}});
  return {{"type", revision.repo.type == RepoType::kModel ? "model" : "dataset"},
          {"name", revision.repo.name},
          {"commit", revision.commit},
          {"files", std::move(files)}};
}

// at() throws for what is missing; SourcesFromJson catches it.
RepoRevision FromJson(const Json& json) {
  const bool model = json.at("type") == "model";
  RepoRevision revision{
      {model ? RepoType::kModel : RepoType::kDataset, json.at("name")}, json.at("commit"), {}};
  for (const Json& file : json.at("files"))
    revision.files.push_back({file.at("path"), file.at("size"), file.at("etag")});
  return revision;
}

}  // namespace

// Stored with the job, so that a worker needs no answer from the hub about what to fetch.
std::string SourcesToJson(const Sources& sources) {
  Json repos = Json::array();
  for (const RepoRevision& revision : sources.repos) repos.push_back(ToJson(revision));
  return Json{{"endpoint", sources.endpoint},
              {"cache_dir", sources.cache_dir.string()},
              {"repos", std::move(repos)}}
      .dump();
}

// INTERNAL: only ftd writes this.
absl::StatusOr<Sources> SourcesFromJson(std::string_view text) {
  try {
    const Json json = Json::parse(text);
    Sources sources{json.at("endpoint"), json.at("cache_dir").get<std::string>(), {}};
    for (const Json& repo : json.at("repos")) sources.repos.push_back(FromJson(repo));
    return sources;
  } catch (const Json::exception& error) {
    return absl::InternalError(absl::StrCat("sources of a job: ", error.what()));
  }
}

bool HasSources(const Sources& sources) {
  const Cache cache(sources.cache_dir);
  return std::all_of(sources.repos.begin(), sources.repos.end(),
                     [&](const RepoRevision& repo) { return HasFiles(cache, repo); });
}

int64_t MissingBytes(const Sources& sources) {
  const Cache cache(sources.cache_dir);
  int64_t missing = 0;
  for (const RepoRevision& revision : sources.repos) missing += MissingBytes(cache, revision);
  return missing;
}

absl::Status CheckDiskFor(const Sources& sources) {
  const Cache cache(sources.cache_dir);
  for (const RepoRevision& revision : sources.repos)
    FTD_RETURN_IF_ERROR(CheckDisk(cache, revision));
  return absl::OkStatus();
}

absl::Status FetchSources(const Sources& sources, const std::string& token,
                          const TransferOptions& options) {
  Settings settings;
  settings.endpoint = sources.endpoint;
  settings.cache_dir = sources.cache_dir;
  const Cache cache(sources.cache_dir);
  // Progress is of all repositories together; one after the other is fetched.
  int64_t total = 0, before = 0;
  for (const RepoRevision& revision : sources.repos) total += TotalBytes(revision);
  for (const RepoRevision& revision : sources.repos) {
    TransferOptions part = options;
    if (options.progress) {
      part.progress = [&](const TransferProgress& progress) {
        options.progress({before + progress.done_bytes, total, progress.bytes_per_second});
      };
    }
    FTD_RETURN_IF_ERROR(FetchFiles(settings, token, cache, revision, part));
    before += TotalBytes(revision);
  }
  return absl::OkStatus();
}

}  // namespace ftd::hub
