// One blob from the hub into the cache: resumed where it broke off, checked by its digest.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "lib/hub/transport/cache.h"
#include "lib/hub/transport/http_client.h"
#include "lib/hub/transport/repo.h"
#include "lib/hub/transport/settings.h"

namespace ftd::hub {

// The parts that all fetches of one snapshot share.
struct FetchContext {
  const Settings& settings;
  const std::string& token;
  const Cache& cache;
  const RepoRevision& revision;
  absl::Duration patience;  // how long no byte may come before the fetch is given up
};

// Makes the snapshot have `file`. Another process that fetches it at this moment is waited for.
// `fetched(bytes)` is called on this thread with the number of bytes that are there. Fetched bytes
// stay when it fails, and no byte of it is fetched again. Errors: those of GetRevision, CANCELLED,
// RESOURCE_EXHAUSTED DISK_FULL, DATA_LOSS HUB_PROTOCOL when the bytes are not those of the digest.
absl::Status FetchBlob(HttpClient& http, const FetchContext& context, const RepoFile& file,
                       const std::function<void(int64_t bytes)>& fetched);

}  // namespace ftd::hub
