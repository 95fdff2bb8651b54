// Any bytes as the hub's answer about a repository, and as a header of it. What is taken for good
// stays below its directory, and survives being stored.
#include <cstdint>
#include <cstdlib>
#include <filesystem>

#include "lib/hub/selection.h"
#include "lib/hub/sources.h"
#include "lib/hub/transport/cache.h"

namespace ftd::hub {
namespace {

void Require(bool condition) {
  if (!condition) std::abort();
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
