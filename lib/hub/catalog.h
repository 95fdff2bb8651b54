// The content of the cache, by repository: to be listed, verified, removed.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/hub/transport/cache.h"
#include "lib/hub/transport/repo.h"

namespace ftd::hub {

struct CachedRepo {
  RepoId repo;
  int64_t size_bytes = 0;            // of all blobs and pieces, as they lie on disk
  std::vector<std::string> commits;  // that have a snapshot
  std::string main_commit;           // what refs/main says, or empty
};

// All repositories of the cache, by type and name. Other directories are passed over.
std::vector<CachedRepo> ListCache(const Cache& cache);

// Reads every blob of a repository and compares it with its name. The paths, below the repository's
// directory, of those that are damaged. NOT_FOUND MODEL_NOT_FOUND when the cache lacks it.
absl::StatusOr<std::vector<std::string>> VerifyRepo(
    const Cache& cache, const RepoId& repo,
    const std::function<void(int64_t done_bytes, int64_t total_bytes)>& progress,
    const std::function<bool()>& cancelled);

// Removes a repository, and returns how many bytes that freed. FAILED_PRECONDITION STATE_CONFLICT
// while a process fetches one of its blobs, NOT_FOUND MODEL_NOT_FOUND when it is not there.
absl::StatusOr<int64_t> RemoveRepo(const Cache& cache, const RepoId& repo);

}  // namespace ftd::hub
