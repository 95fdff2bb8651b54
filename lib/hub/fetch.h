// Files of a repository into the cache, several at a time.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "lib/hub/transfer.h"
#include "lib/hub/transport/cache.h"
#include "lib/hub/transport/repo.h"
#include "lib/hub/transport/settings.h"

namespace ftd::hub {

// Makes the snapshot have all of `revision.files`. RESOURCE_EXHAUSTED DISK_FULL before the first
// byte when the disk cannot hold what is missing; otherwise the errors of FetchBlob.
absl::Status FetchFiles(const Settings& settings, const std::string& token, const Cache& cache,
                        const RepoRevision& revision, const TransferOptions& options);

// Returns whether the snapshot has all of `revision.files`.
bool HasFiles(const Cache& cache, const RepoRevision& revision);

// Returns the bytes that the snapshot still misses: what was fetched before counts as there.
int64_t MissingBytes(const Cache& cache, const RepoRevision& revision);

// RESOURCE_EXHAUSTED DISK_FULL, with both sizes, when the cache's disk cannot hold what the
// snapshot still misses.
absl::Status CheckDisk(const Cache& cache, const RepoRevision& revision);

}  // namespace ftd::hub
