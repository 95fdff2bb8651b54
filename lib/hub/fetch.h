// Files of a repository into the cache, several at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "lib/hub/transport/cache.h"
#include "lib/hub/transport/repo.h"
#include "lib/hub/transport/settings.h"

namespace ftd::hub {

struct FetchProgress {
  int64_t done_bytes = 0;
  int64_t total_bytes = 0;
  double bytes_per_second = 0;  // of the last few seconds; 0: not known yet
};

struct FetchOptions {
  int connections = 8;
  // The time without any byte after which the fetch is given up.
  absl::Duration patience = absl::Minutes(15);
  // Called about five times a second, and at the end, from the calling thread; may be empty.
  std::function<void(const FetchProgress&)> progress;
  // Asked from any thread; may be empty.
  std::function<bool()> cancelled;
};

// Makes the snapshot have all of `revision.files`. RESOURCE_EXHAUSTED DISK_FULL before the first
// byte when the disk cannot hold what is missing; otherwise the errors of FetchBlob.
absl::Status FetchFiles(const Settings& settings, const std::string& token, const Cache& cache,
                        const RepoRevision& revision, const FetchOptions& options);

// Returns whether the snapshot has all of `revision.files`.
bool HasFiles(const Cache& cache, const RepoRevision& revision);

// Returns the bytes that the snapshot still misses: what was fetched before counts as there.
int64_t MissingBytes(const Cache& cache, const RepoRevision& revision);

// RESOURCE_EXHAUSTED DISK_FULL, with both sizes, when the cache's disk cannot hold what the
// snapshot still misses.
absl::Status CheckDisk(const Cache& cache, const RepoRevision& revision);

}  // namespace ftd::hub
