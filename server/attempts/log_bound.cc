#include "server/attempts/log_bound.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "lib/base/error.h"
#include "lib/base/file.h"

namespace ftd {

absl::StatusOr<int64_t> BoundLog(const std::filesystem::path& log) {
  constexpr int64_t kBlock = 512;  // of st_blocks, whatever the filesystem's are
  struct stat before, after;
  if (stat(log.c_str(), &before) != 0 || before.st_blocks * kBlock <= kMostLogBytes) return 0;
  FTD_ASSIGN_OR_RETURN(const Fd fd, OpenFile(log, O_WRONLY));
  const int64_t old = before.st_size - kKeptLogBytes;
  if (fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, old) != 0) {
    if (errno == EOPNOTSUPP || errno == ENOSYS) return 0;
    return ErrnoError(errno, "shorten " + log.string());
  }
  if (fstat(fd.get(), &after) != 0) return 0;
  return std::max<int64_t>(0, (before.st_blocks - after.st_blocks) * kBlock);
}

// A filesystem that knows no holes says that everything is data. ENXIO: there is none from there
// on.
int64_t KeptFrom(int log, int64_t offset) {
  const off_t data = lseek(log, offset, SEEK_DATA);
  return data < 0 ? offset : data;
}

}  // namespace ftd
