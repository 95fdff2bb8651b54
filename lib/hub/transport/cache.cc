#include "lib/hub/transport/cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "lib/base/error.h"

namespace ftd::hub {
namespace {

namespace fs = std::filesystem;

constexpr char kIncomplete[] = ".incomplete";

bool IsCommit(const std::string& text) {
  return text.size() == 40 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

// A branch may have slashes; it must not lead out of refs/.
bool IsRefName(const std::string& revision) {
  return !revision.empty() && revision.front() != '/' && revision.back() != '/' &&
         !absl::StrContains(revision, "..") && !absl::StrContains(revision, "//");
}

absl::Status MakeDirectories(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  return error ? ErrnoError(error.value(), absl::StrCat("mkdir ", path.string()))
               : absl::OkStatus();
}

int64_t SizeOf(const fs::path& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  return error ? -1 : static_cast<int64_t>(size);
}

// Returns the pieces of a blob: ETAG.incomplete and ETAG.XXXXXXXX.incomplete.
std::vector<fs::path> Pieces(const fs::path& blob) {
  const std::string prefix = blob.filename().string() + ".";
  std::vector<fs::path> pieces;
  std::error_code error;
  for (fs::directory_iterator it(blob.parent_path(), error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename();
    if (absl::StartsWith(name, prefix) && absl::EndsWith(name, kIncomplete))
      pieces.push_back(it->path());
  }
  return pieces;
}

}  // namespace

fs::path Cache::RepoDir(const RepoId& repo) const {
  return root_ / absl::StrCat(repo.type == RepoType::kModel ? "models--" : "datasets--",
                              absl::StrReplaceAll(repo.name, {{"/", "--"}}));
}

fs::path Cache::Snapshot(const RepoId& repo, const std::string& commit) const {
  return RepoDir(repo) / "snapshots" / commit;
}

fs::path Cache::Blob(const RepoId& repo, const std::string& etag) const {
  return RepoDir(repo) / "blobs" / etag;
}

fs::path Cache::Incomplete(const RepoId& repo, const std::string& etag) const {
  return RepoDir(repo) / "blobs" / absl::StrCat(etag, kIncomplete);
}

std::string Cache::ReadRef(const RepoId& repo, const std::string& revision) const {
  // A commit stands for itself, with or without a ref.
  if (IsCommit(revision)) return revision;
  if (!IsRefName(revision)) return "";
  const auto text = ReadFile(RepoDir(repo) / "refs" / revision);
  if (!text.ok()) return "";
  std::string commit(absl::StripAsciiWhitespace(*text));
  return IsCommit(commit) ? commit : "";
}

absl::Status Cache::WriteRef(const RepoId& repo, const std::string& revision,
                             const std::string& commit) const {
  // Rewriting an equal ref would change its time for nothing.
  if (IsCommit(revision) || !IsRefName(revision) || ReadRef(repo, revision) == commit)
    return absl::OkStatus();
  const fs::path path = RepoDir(repo) / "refs" / revision;
  const fs::path scratch = RepoDir(repo) / "blobs";  // in refs/ it would be one, if left behind
  FTD_RETURN_IF_ERROR(MakeDirectories(path.parent_path()));
  FTD_RETURN_IF_ERROR(MakeDirectories(scratch));
  return WriteFileAtomically(path, commit, scratch);
}

// By size alone, which is cheap. Bytes were verified when the blob was published.
bool Cache::Has(const RepoRevision& revision, const RepoFile& file) const {
  return SizeOf(Snapshot(revision.repo, revision.commit) / file.path) == file.size;
}

absl::Status Cache::Link(const RepoRevision& revision, const RepoFile& file) const {
  const fs::path link = Snapshot(revision.repo, revision.commit) / file.path;
  FTD_RETURN_IF_ERROR(MakeDirectories(link.parent_path()));
  // Relative, as huggingface_hub makes it: the cache may be moved.
  const fs::path target = Blob(revision.repo, file.etag).lexically_relative(link.parent_path());
  // By a rename, since a link to an older blob may be there and must never be missing. Not from
  // snapshots/, where a kill in between would leave the model one file too many. The blob's lock
  // makes the name ours; what a kill left there goes now.
  const fs::path fresh = Blob(revision.repo, file.etag + ".link");
  std::error_code error;
  fs::remove(fresh, error);
  fs::create_symlink(target, fresh, error);
  if (!error) fs::rename(fresh, link, error);
  if (error) return ErrnoError(error.value(), absl::StrCat("link ", link.string()));
  return SyncPath(link.parent_path());
}

// Once per cache. The signature is that of the convention (bford.info/cachedir).
absl::Status Cache::Tag() const {
  FTD_RETURN_IF_ERROR(MakeDirectories(root_));
  const fs::path path = root_ / "CACHEDIR.TAG";
  std::error_code error;
  if (fs::exists(path, error)) return absl::OkStatus();
  const fs::path scratch = root_ / ".locks";  // whatever else is in the root counts as a repository
  FTD_RETURN_IF_ERROR(MakeDirectories(scratch));
  return WriteFileAtomically(path, "Signature: 8a477f597d28d172789f06886806bc55\n", scratch);
}

absl::StatusOr<std::optional<Fd>> Cache::TryLock(const RepoId& repo,
                                                 const std::string& etag) const {
  const fs::path path = root_ / ".locks" / RepoDir(repo).filename() / absl::StrCat(etag, ".lock");
  FTD_RETURN_IF_ERROR(MakeDirectories(path.parent_path()));
  FTD_RETURN_IF_ERROR(MakeDirectories(Blob(repo, etag).parent_path()));
  FTD_ASSIGN_OR_RETURN(Fd fd, OpenFile(path, O_RDWR | O_CREAT, 0664));
  // Non-blocking: the caller polls, so that a cancelled fetch does not hang here.
  if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK || errno == EINTR) return std::nullopt;
    return ErrnoError(errno, absl::StrCat("lock ", path.string()));
  }
  // Some tools remove a lock's file. Then the lock that we hold is on a file that nobody else opens
  // any more.
  struct stat ours {
  }, named{};
  if (fstat(fd.get(), &ours) != 0 || stat(path.c_str(), &named) != 0 || ours.st_ino != named.st_ino)
    return std::nullopt;
  return std::optional<Fd>(std::move(fd));
}

// A Python tool names its piece by a random suffix. Nobody writes to it: we have the lock that it
// takes.
absl::Status Cache::AdoptPieces(const RepoId& repo, const std::string& etag) const {
  std::vector<fs::path> pieces = Pieces(Blob(repo, etag));
  std::sort(pieces.begin(), pieces.end(),
            [](const fs::path& a, const fs::path& b) { return SizeOf(a) > SizeOf(b); });
  std::error_code error;
  const fs::path ours = Incomplete(repo, etag);
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (i > 0) {
      fs::remove(pieces[i], error);
    } else if (pieces[i] != ours) {
      fs::rename(pieces[i], ours, error);
      if (error) return ErrnoError(error.value(), absl::StrCat("rename ", pieces[i].string()));
      // The longest one has just taken the place of ours.
      pieces.erase(std::remove(pieces.begin() + 1, pieces.end(), ours), pieces.end());
    }
  }
  return absl::OkStatus();
}

// For progress and for the disk check; another process may be writing at the same time.
int64_t Cache::FetchedBytes(const RepoId& repo, const RepoFile& file) const {
  const fs::path blob = Blob(repo, file.etag);
  if (SizeOf(blob) >= 0) return file.size;
  int64_t most = 0;
  for (const fs::path& piece : Pieces(blob)) most = std::max(most, SizeOf(piece));
  return std::min(most, file.size);
}

}  // namespace ftd::hub
