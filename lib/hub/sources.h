// The files that a job needs from the hub, pinned at submit: repositories at their commits, and
// their files. The daemon stores it with the job as JSON and hands it to the worker, which then
// asks the hub for nothing but the bytes that are missing.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/hub/fetch.h"
#include "lib/hub/transport/repo.h"
#include "lib/hub/transport/settings.h"

namespace ftd::hub {

struct Sources {
  std::string endpoint;
  std::filesystem::path cache_dir;
  std::vector<RepoRevision> repos;
};

std::string SourcesToJson(const Sources& sources);
// INTERNAL when it is not what SourcesToJson writes.
absl::StatusOr<Sources> SourcesFromJson(std::string_view json);

// Returns whether every file of every repository is in the cache.
bool HasSources(const Sources& sources);

// Returns the bytes that the cache still misses of them.
int64_t MissingBytes(const Sources& sources);

// RESOURCE_EXHAUSTED DISK_FULL when the cache's disk cannot hold what is missing of a repository.
absl::Status CheckDiskFor(const Sources& sources);

// FetchFiles of all repositories; `options.progress` gets their sum.
absl::Status FetchSources(const Sources& sources, const std::string& token,
                          const TransferOptions& options);

}  // namespace ftd::hub
