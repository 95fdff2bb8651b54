#include "lib/base/device_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

// A container may see nodes that it must not open.
bool IsUsable(const fs::path& node) { return ::access(node.c_str(), R_OK | W_OK) == 0; }

bool IsBelow(const fs::path& path, const fs::path& dir) {
  const fs::path inner = path.lexically_normal(), outer = dir.lexically_normal();
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
}

absl::StatusOr<Fd> Lock(const fs::path& path, const fs::path& dev, int operation) {
  // A device's node is never created; a lock file of our own is.
  const int create = IsBelow(path, dev) ? 0 : O_CREAT;
  FTD_ASSIGN_OR_RETURN(Fd fd, OpenFile(path, O_RDWR | create));
  while (::flock(fd.get(), operation) != 0) {
    if (errno == EWOULDBLOCK)
      return absl::UnavailableError(absl::StrCat("another process has locked ", path.string()));
    if (errno != EINTR) return ErrnoError(errno, absl::StrCat("lock ", path.string()));
  }
  return fd;
}

}  // namespace

// nvidiactl first: without it no GPU can be used, whatever other nodes there are.
fs::path GpuLockFile(const fs::path& dev) {
  constexpr int kMaxGpus = 16;
  if (!IsUsable(dev / "nvidiactl")) return {};
  for (int i = 0; i < kMaxGpus; ++i) {
    fs::path node = dev / absl::StrCat("nvidia", i);
    if (IsUsable(node)) return node;
  }
  return {};
}

// Waits for as long as it takes: another process computes until it ends.
absl::StatusOr<Fd> LockFile(const fs::path& path, const fs::path& dev) {
  return Lock(path, dev, LOCK_EX);
}

absl::StatusOr<Fd> TryLockFile(const fs::path& path, const fs::path& dev) {
  return Lock(path, dev, LOCK_EX | LOCK_NB);
}

}  // namespace ftd
