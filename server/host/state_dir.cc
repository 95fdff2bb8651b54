#include "server/host/state_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/steady_clock.h"
#include "lib/base/utf8.h"
#include "server/host/left_descriptors.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

// The daemon makes its directories itself: a first start needs no preparation.
absl::Status CreateDirectories(const fs::path& dir) {
  std::error_code error;
  fs::create_directories(dir, error);
  if (!error) return absl::OkStatus();
  return Error(Reason::kPathNotWritable,
               absl::StrCat("cannot create the directory ", dir.string(), ": ", error.message()));
}

// rename(2) works within one filesystem only, and publishing must not copy gigabytes.
absl::Status CheckSameFilesystem(const fs::path& a, const fs::path& b) {
  struct stat stat_a, stat_b;
  if (stat(a.c_str(), &stat_a) != 0) return ErrnoError(errno, absl::StrCat("stat ", a.string()));
  if (stat(b.c_str(), &stat_b) != 0) return ErrnoError(errno, absl::StrCat("stat ", b.string()));
  if (stat_a.st_dev == stat_b.st_dev) return absl::OkStatus();
  return Error(
      Reason::kConfigInvalid,
      absl::StrCat(
          a.string(), " and ", b.string(),
          " are on different filesystems; a result is published by rename, so put them on one"));
}

// The kernel drops the lock when the daemon ends, however it ends.
absl::StatusOr<Fd> TakeLock(const fs::path& root) {
  const fs::path path = root / "ftd.lock";
  FTD_ASSIGN_OR_RETURN(Fd lock, OpenFile(path, O_RDWR | O_CREAT, 0640));
  int error = 0;
  const bool held = IsHeldForLong([&] {
    error = flock(lock.get(), LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
    return error == EWOULDBLOCK;
  });
  if (error == 0) return lock;
  if (!held) return ErrnoError(error, absl::StrCat("lock ", path.string()));
  return Error(Reason::kStateDirInUse,
               absl::StrCat("another ftd uses the state directory ", root.string(),
                            "; stop it, or choose another with --state-dir"));
}

absl::Status ResultsNotWritable(const fs::path& results, int error) {
  return Error(Reason::kPathNotWritable,
               absl::StrCat("the results directory ", results.string(),
                            " cannot be written: ", std::generic_category().message(error),
                            "; correct its permissions or mount"));
}

}  // namespace

absl::StatusOr<StateDir> StateDir::Open(const fs::path& root) {
  std::error_code error;
  // Absolute: workers run in directories of their own, and jobs store paths below it.
  fs::path absolute = fs::absolute(root, error).lexically_normal();
  if (error) {
    return absl::InvalidArgumentError(
        absl::StrCat("state directory ", root.string(), ": ", error.message()));
  }
  if (!absolute.has_filename()) absolute = absolute.parent_path();
  // Answers name checkpoints and results below it, and a message's texts are UTF-8.
  if (!IsValidUtf8(absolute.native())) {
    return Error(Reason::kConfigInvalid,
                 absl::StrCat("the state directory's path is not UTF-8: ",
                              EscapeInvalidUtf8(absolute.native()), "; choose another"));
  }
  for (const char* part : {"uploads", "jobs", "results"}) {
    FTD_RETURN_IF_ERROR(CreateDirectories(absolute / part));
  }
  FTD_RETURN_IF_ERROR(CheckSameFilesystem(absolute / "jobs", absolute / "results"));
  FTD_ASSIGN_OR_RETURN(Fd lock, TakeLock(absolute));
  return StateDir(std::move(absolute), std::move(lock));
}

std::optional<StateDir::Space> StateDir::DiskSpace() const {
  struct statvfs found;
  if (statvfs(Results().c_str(), &found) != 0) return std::nullopt;
  const auto block = static_cast<int64_t>(found.f_frsize);
  return Space{.free = static_cast<int64_t>(found.f_bavail) * block,
               .total = static_cast<int64_t>(found.f_blocks) * block};
}

// What was found within the last milliseconds is good enough: the next moment may be another in any
// case.
absl::Status StateDir::CheckResultsWritable() const {
  constexpr absl::Duration kShared = absl::Milliseconds(5);
  const Moment now = SteadyNow();
  if (now - absl::Nanoseconds(writable_ns_->load()) < kShared) return absl::OkStatus();
  if (faccessat(AT_FDCWD, Results().c_str(), W_OK | X_OK, AT_EACCESS) != 0)
    return ResultsNotWritable(Results(), errno);
  const auto space = DiskSpace();
  if (!space.has_value() || space->free >= kReserveBytes) {
    *writable_ns_ = absl::ToInt64Nanoseconds(now);
    return absl::OkStatus();
  }
  return Error(Reason::kDiskReserve,
               absl::StrCat("only ", space->free, " bytes are free for results in ",
                            Results().string(), "; free some space"));
}

// Modes and mount options do not show quotas.
absl::Status StateDir::ProbeResults() const {
  std::string name = (Results() / ".probe-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) {
    if (errno == ENOSPC || errno == EDQUOT) {
      return ErrnoError(errno, absl::StrCat("write to ", Results().string()));
    }
    return ResultsNotWritable(Results(), errno);
  }
  rmdir(name.c_str());
  return CheckResultsWritable();
}

}  // namespace ftd
