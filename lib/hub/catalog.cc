#include "lib/hub/catalog.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <tuple>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/utf8.h"
#include "lib/hub/transport/digest.h"

namespace ftd::hub {
namespace {

namespace fs = std::filesystem;

// Returns a directory's entries, sorted; none if it cannot be read.
std::vector<fs::path> Entries(const fs::path& dir) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (fs::directory_iterator it(dir, error), end; !error && it != end; it.increment(error))
    entries.push_back(it->path());
  std::sort(entries.begin(), entries.end());
  return entries;
}

// Parses "models--OWNER--NAME". The cache's own encoding is ambiguous for names with "--", as it is
// for huggingface_hub.
std::optional<RepoId> ParseRepoDir(absl::string_view name) {
  if (!IsValidUtf8({name.data(), name.size()})) return std::nullopt;  // no repository is called so
  RepoType type = RepoType::kModel;
  if (absl::ConsumePrefix(&name, "datasets--")) {
    type = RepoType::kDataset;
  } else if (!absl::ConsumePrefix(&name, "models--")) {
    return std::nullopt;
  }
  return RepoId{type, absl::StrReplaceAll(name, {{"--", "/"}})};
}

// Blocks, not the file's length: a piece may be sparse. lstat, so that a link is not counted.
int64_t BytesOnDisk(const fs::path& path) {
  struct stat info {};
  return lstat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode) ? info.st_blocks * 512 : 0;
}

// A git sha1 or a sha256; pieces and ".link" names are not etags.
bool IsEtagName(const std::string& name) {
  return (name.size() == 40 || name.size() == 64) &&
         name.find_first_not_of("0123456789abcdef") == std::string::npos;
}

absl::Status NotCached(const Cache& cache, const RepoId& repo) {
  return Error(Reason::kModelNotFound,
               absl::StrCat(Described(repo), " is not in the cache ", cache.root().string(),
                            "; `ftctl models` lists what is"));
}

// Returns whether the blob's bytes differ from its name; an error if it cannot be opened, or if the
// caller cancelled.
absl::StatusOr<bool> IsDamaged(const fs::path& blob,
                               const std::function<absl::Status(int64_t)>& read) {
  std::error_code error;
  const auto size = static_cast<int64_t>(fs::file_size(blob, error));
  if (error) return true;
  const std::string etag = blob.filename();
  BlobDigest digest(KindOf(etag), size);
  FTD_ASSIGN_OR_RETURN(const Fd fd, OpenFile(blob, O_RDONLY));
  std::string buffer(kHashedAtOnce, '\0');
  while (true) {
    const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
    if (got < 0) return true;
    if (got == 0) return digest.Hex() != etag;
    digest.Update({buffer.data(), static_cast<size_t>(got)});
    FTD_RETURN_IF_ERROR(read(got));
  }
}

}  // namespace

// Lists what is there, complete or not: Python's tools put repositories here as well.
std::vector<CachedRepo> ListCache(const Cache& cache) {
  std::vector<CachedRepo> repos;
  for (const fs::path& dir : Entries(cache.root())) {
    const auto repo = ParseRepoDir(dir.filename().string());
    if (!repo.has_value()) continue;
    CachedRepo cached{*repo, 0, {}, RepairUtf8(cache.ReadRef(*repo, "main"))};
    for (const fs::path& blob : Entries(dir / "blobs")) cached.size_bytes += BytesOnDisk(blob);
    for (const fs::path& snapshot : Entries(dir / "snapshots")) {
      cached.commits.push_back(RepairUtf8(snapshot.filename().string()));
    }
    repos.push_back(std::move(cached));
  }
  return repos;
}

absl::StatusOr<std::vector<std::string>> VerifyRepo(
    const Cache& cache, const RepoId& repo,
    const std::function<void(int64_t done_bytes, int64_t total_bytes)>& progress,
    const std::function<bool()>& cancelled) {
  std::error_code error;
  if (!fs::is_directory(cache.RepoDir(repo), error)) return NotCached(cache, repo);
  std::vector<fs::path> blobs;
  int64_t total = 0, done = 0;
  for (const fs::path& blob : Entries(cache.RepoDir(repo) / "blobs")) {
    // A blob is named by its digest, so it verifies without asking the hub.
    if (!IsEtagName(blob.filename())) continue;
    blobs.push_back(blob);
    total += static_cast<int64_t>(fs::file_size(blob, error));
  }
  std::vector<std::string> damaged;
  for (const fs::path& blob : blobs) {
    FTD_ASSIGN_OR_RETURN(const bool bad, IsDamaged(blob, [&](int64_t bytes) -> absl::Status {
                           progress(done += bytes, total);
                           return cancelled() ? absl::CancelledError("cancelled")
                                              : absl::OkStatus();
                         }));
    if (bad) damaged.push_back(absl::StrCat("blobs/", blob.filename().string()));
  }
  return damaged;
}

absl::StatusOr<int64_t> RemoveRepo(const Cache& cache, const RepoId& repo) {
  const fs::path dir = cache.RepoDir(repo);
  std::error_code error;
  if (!fs::is_directory(dir, error)) return NotCached(cache, repo);
  // All locks of what is being fetched, so that nobody is writing to the directory that is removed.
  std::vector<Fd> locks;
  int64_t size = 0;
  for (const fs::path& blob : Entries(dir / "blobs")) {
    size += BytesOnDisk(blob);
    const std::string etag = blob.filename().string().substr(0, blob.filename().string().find('.'));
    if (!IsEtagName(etag) || blob.extension() != ".incomplete") continue;
    FTD_ASSIGN_OR_RETURN(std::optional<Fd> lock, cache.TryLock(repo, etag));
    if (!lock.has_value()) {
      return Error(Reason::kStateConflict,
                   absl::StrCat(Described(repo), " is being fetched at this moment"));
    }
    locks.push_back(*std::move(lock));
  }
  // Renamed first, so that no reader meets half of it. Directories that a killed removal left are
  // removed too.
  const std::string mark = absl::StrCat(kUnfinishedMark, "removed-");
  const fs::path bin = cache.root() / ".locks";
  fs::create_directories(bin, error);  // or the rename fails and says so
  for (const fs::path& left : Entries(bin)) {
    if (absl::StartsWith(left.filename().string(), mark)) fs::remove_all(left, error);
  }
  const fs::path doomed = bin / absl::StrCat(mark, getpid(), "-", dir.filename().string());
  fs::rename(dir, doomed, error);
  if (error) return ErrnoError(error.value(), absl::StrCat("remove ", dir.string()));
  fs::remove_all(doomed, error);
  if (error) return ErrnoError(error.value(), absl::StrCat("remove ", doomed.string()));
  fs::remove_all(cache.root() / ".locks" / dir.filename(), error);
  return size;
}

}  // namespace ftd::hub
