#include "lib/base/contained_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

// In the layout of the hub's cache: REPO/snapshots/COMMIT/FILE -> REPO/blobs/DIGEST.
constexpr char kSnapshots[] = "snapshots", kBlobs[] = "blobs";

// Returns the path without dots and without a slash at its end, which would count as a last part.
fs::path Normal(const fs::path& path) {
  std::error_code ignored;  // of an empty path, which is under no root
  const fs::path normal = fs::absolute(path, ignored).lexically_normal();
  return normal.has_filename() ? normal : normal.parent_path();
}

bool IsContained(const fs::path& path, const fs::path& dir) {
  if (LiesUnder(path, dir)) return true;
  const fs::path snapshots = dir.parent_path();
  return snapshots.filename() == kSnapshots && LiesUnder(path, snapshots.parent_path() / kBlobs);
}

}  // namespace

bool LiesUnder(const fs::path& path, const fs::path& root) {
  const auto [end, unused] = std::mismatch(root.begin(), root.end(), path.begin(), path.end());
  return end == root.end();
}

fs::path WithoutLinks(const fs::path& path) {
  std::error_code error;
  const fs::path real = fs::weakly_canonical(path, error);
  return error ? path : Normal(real);
}

// The first descriptor names the file and nothing more. What it is and where it is are facts of
// that descriptor, so nobody can exchange the file between the look and the second opening.
absl::StatusOr<OpenedFile> OpenRegularFile(const fs::path& path) {
  FTD_ASSIGN_OR_RETURN(const Fd named, OpenFile(path, O_PATH));
  struct stat info;
  if (::fstat(named.get(), &info) != 0) return ErrnoError(errno, "stat " + path.string());
  if (!S_ISREG(info.st_mode))
    return absl::InvalidArgumentError(absl::StrCat(path.string(), " is not a regular file"));
  const fs::path self = absl::StrCat("/proc/self/fd/", named.get());
  std::error_code error;
  OpenedFile opened;
  opened.path = fs::read_symlink(self, error);
  if (error) return ErrnoError(error.value(), "read " + self.string());
  opened.fd = Fd(::open(self.c_str(), O_RDONLY | O_CLOEXEC));
  if (!opened.fd.valid()) return ErrnoError(errno, "open " + path.string());
  return opened;
}

absl::StatusOr<OpenedFile> OpenContained(const fs::path& dir, const fs::path& name) {
  auto opened = OpenRegularFile(dir / name);
  if (absl::IsInvalidArgument(opened.status()))
    return Error(Reason::kModelCorrupt, std::string(opened.status().message()));
  if (!opened.ok() || IsContained(opened->path, Normal(dir))) return opened;
  return Error(Reason::kModelCorrupt,
               absl::StrCat((dir / name).string(),
                            " is reached by a link that leads out of its directory, which ftd does "
                            "not follow; put the file itself there, or a hard link"));
}

absl::StatusOr<std::string> ReadContained(const fs::path& dir, const fs::path& name) {
  FTD_ASSIGN_OR_RETURN(const OpenedFile opened, OpenContained(dir, name));
  return ReadFile(opened.fd, dir / name);
}

}  // namespace ftd
