#include "lib/hub/fetch.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_format.h"
#include "lib/base/error.h"
#include "lib/hub/transport/blob_fetch.h"

namespace ftd::hub {
namespace {

constexpr double kGigabyte = 1e9;
constexpr int64_t kDiskReserve = 256 << 20;

}  // namespace

bool HasFiles(const Cache& cache, const RepoRevision& revision) {
  return std::all_of(revision.files.begin(), revision.files.end(),
                     [&](const RepoFile& file) { return cache.Has(revision, file); });
}

int64_t MissingBytes(const Cache& cache, const RepoRevision& revision) {
  int64_t missing = 0;
  for (const RepoFile& file : revision.files) {
    if (!cache.Has(revision, file)) missing += file.size - cache.FetchedBytes(revision.repo, file);
  }
  return missing;
}

// kDiskReserve stays free for the rest of the machine.
absl::Status CheckDisk(const Cache& cache, const RepoRevision& revision) {
  const int64_t missing = MissingBytes(cache, revision);
  std::error_code error;
  std::filesystem::create_directories(cache.root(), error);
  const auto space = std::filesystem::space(cache.root(), error);
  if (error) return ErrnoError(error.value(), cache.root().string());
  if (missing == 0 || static_cast<int64_t>(space.available) >= missing + kDiskReserve)
    return absl::OkStatus();
  return Error(
      Reason::kDiskFull,
      absl::StrFormat(
          "%s needs %.2f GB more in %s, where %.2f GB are free and %.2f GB stay free; make "
          "room (`ftctl models rm` removes models) or set HF_HUB_CACHE to a larger disk",
          Described(revision.repo), static_cast<double>(missing) / kGigabyte, cache.root().string(),
          static_cast<double>(space.available) / kGigabyte,
          static_cast<double>(kDiskReserve) / kGigabyte));
}

absl::Status FetchFiles(const Settings& settings, const std::string& token, const Cache& cache,
                        const RepoRevision& revision, const TransferOptions& options) {
  // The usual case for the second job on a model: no request, not even a lock.
  if (HasFiles(cache, revision)) return absl::OkStatus();
  FTD_RETURN_IF_ERROR(cache.Tag());
  FTD_RETURN_IF_ERROR(CheckDisk(cache, revision));
  const FetchContext context{settings, token, cache, revision, options.patience};
  std::vector<int64_t> sizes;
  for (const RepoFile& file : revision.files) sizes.push_back(file.size);
  return RunTransfers(sizes, options, [&](HttpClient& http, size_t index, const auto& fetched) {
    return FetchBlob(http, context, revision.files[index], fetched);
  });
}

}  // namespace ftd::hub
