// Any bytes as the hub's answer about a repository, and as a header of it. What is taken for good
// stays below its directory, and survives being stored.
#include <cstdint>
#include <cstdlib>
#include <filesystem>

#include "lib/base/json.h"
#include "lib/hub/selection.h"
#include "lib/hub/sources.h"
#include "lib/hub/transport/blob_upload.h"
#include "lib/hub/transport/cache.h"
#include "lib/hub/transport/repo_writes.h"

namespace ftd::hub {
namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

// The answers to what is written.
void TryWrites(const RepoId& repo, const std::string& bytes) {
  const Settings settings{.endpoint = "https://hub", .cache_dir = "", .token_path = ""};
  const std::string token = "hf_secret", branch = "main";
  const WriteTarget target{settings, token, repo, branch, absl::ZeroDuration()};
  HttpResponse response;
  response.body = bytes;
  for (response.status = 400; response.status < 430; ++response.status) {
    const absl::Status error = WriteError(response, target, "a step");
    Require(!error.ok() && error.message().find(token) == absl::string_view::npos);
  }
  if (const auto commit = ParseCommit(repo, bytes); commit.ok()) Require(IsCommit(*commit));
  const auto json = ParseJsonObject(bytes);
  if (!json.has_value()) return;
  if (const auto modes = ParseUploadModes(repo, *json, {"a"}); modes.ok())
    Require(modes->contains("a"));
  const auto plan = ParseUploadPlan(target, *json, 100);
  if (!plan.ok()) return;
  for (const std::string& part : plan->parts) Require(part.starts_with("https:"));
  Require(plan->parts.empty() || plan->part_size > 0);
}

void Try(const std::string& bytes) {
  const RepoId repo{RepoType::kModel, "owner/name"};
  const Cache cache("/cache");

  HttpResponse response;
  response.status = 429;
  for (const char* name : {"retry-after", "ratelimit", "x-error-code", "x-error-message"})
    response.headers[name] = bytes;
  Require(!HubError(response, {}, repo, bytes, true).ok());
  const double pause = absl::ToDoubleSeconds(RetryPause(&response, static_cast<int>(bytes.size())));
  Require(pause >= 0 && pause <= 600);
  if (IsRepoName(bytes))
    Require(cache.RepoDir({RepoType::kModel, bytes}).parent_path() == "/cache");
  SourcesFromJson(bytes).status().IgnoreError();
  TryWrites(repo, bytes);

  const auto revision = ParseRevision(repo, bytes);
  if (!revision.ok()) return;
  const std::filesystem::path snapshot = cache.Snapshot(repo, revision->commit);
  for (const RepoFile& file : revision->files) {
    const std::filesystem::path path = (snapshot / file.path).lexically_normal();
    Require(path.string().starts_with(snapshot.string() + "/") && file.size >= 0);
    Require(cache.Blob(repo, file.etag).lexically_normal().parent_path() ==
            cache.RepoDir(repo) / "blobs");
  }
  if (const auto files = ModelFiles(*revision); files.ok())
    Require(files->files.size() <= revision->files.size());
  const std::string stored = SourcesToJson({"http://hub", "/cache", {*revision}});
  const auto again = SourcesFromJson(stored);
  Require(again.ok() && SourcesToJson(*again) == stored);
}

}  // namespace
}  // namespace ftd::hub

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ftd::hub::Try(std::string(reinterpret_cast<const char*>(data), size));
  return 0;
}
