// Records what the program that it is preloaded into does to files below $FTD_DISK_ROOT: writes,
// flushes, and changes of directories, in the order in which they happened, in the file that
// $FTD_DISK_LOG names. From that log tests/chaos/disk.py makes what a power cut would have left.
//
// A call that was cut off by SIGKILL is missing in the log, so it counts as not made; nobody was
// told that it was. Flushes are recorded and not made: the log is the disk.
#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include "tests/support/real_call.h"

namespace {

enum Op : uint32_t { kCreate = 1, kMkdir, kWrite, kTruncate, kSync, kRename, kUnlink, kLink };

// disk.py unpacks "<IIQQ"; `bytes` bytes follow: a path, two with a NUL between them, or data.
struct Record {
  Op op;
  uint32_t bytes;
  uint64_t inode;
  uint64_t at;  // an offset, or a size
};

int log_fd = -1;
const char* root = nullptr;
pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) void Start() {
  const char* path = getenv("FTD_DISK_LOG");
  root = getenv("FTD_DISK_ROOT");
  if (path == nullptr || root == nullptr) return;
  log_fd = REAL(open64)(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

bool IsOurs(const char* path) {
  const size_t size = root == nullptr ? 0 : strlen(root);
  return log_fd >= 0 && strncmp(path, root, size) == 0 && (path[size] == '/' || path[size] == '\0');
}

std::string PathOf(int fd) {
  char link[32], path[512];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t size = readlink(link, path, sizeof path);
  return {path, static_cast<size_t>(size < 0 ? 0 : size)};
}

bool IsOurs(int fd) { return log_fd >= 0 && IsOurs(PathOf(fd).c_str()); }

// From a call to its record nobody else makes one, in this process or in another.
class Turn {
 public:
  Turn() {
    pthread_mutex_lock(&mutex);
    flock(log_fd, LOCK_EX);
  }
  ~Turn() {
    flock(log_fd, LOCK_UN);
    pthread_mutex_unlock(&mutex);
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
};

void Log(Op op, uint64_t inode, uint64_t at, const void* data, size_t size) {
  const int error = errno;
  const Record record = {op, static_cast<uint32_t>(size), inode, at};
  const iovec parts[] = {{const_cast<Record*>(&record), sizeof record},
                         {const_cast<void*>(data), size}};
  if (REAL(writev)(log_fd, parts, 2) != static_cast<ssize_t>(sizeof record + size)) abort();
  errno = error;
}

uint64_t InodeOf(int fd) {
  struct stat info {};
  fstat(fd, &info);
  return info.st_ino;
}

// A call on a path, which is recorded where it did something.
template <typename Act>
int OnPath(Op op, const char* path, Act act) {
  if (!IsOurs(path)) return act();
  const Turn turn;
  const int result = act();
  struct stat info {};
  if (result != 0) return result;
  if (op == kMkdir) lstat(path, &info);
  Log(op, info.st_ino, 0, path, strlen(path));
  return result;
}

template <typename Act>
int OnPaths(Op op, const char* from, const char* to, Act act) {
  if (!IsOurs(from) && !IsOurs(to)) return act();
  const Turn turn;
  const int result = act();
  const std::string both = std::string(from) + '\0' + to;
  if (result == 0) Log(op, 0, 0, both.data(), both.size());
  return result;
}

// An open that may make a file, or empty it. `path` is read after the call: a template is filled in
// by then.
template <typename Act>
auto Opening(const char* path, bool truncates, int (*number)(decltype(std::declval<Act>()())),
             Act act) {
  if (!IsOurs(path)) return act();
  const Turn turn;
  struct stat before {};
  const bool was_there = stat(path, &before) == 0;
  const auto result = act();
  const int fd = number(result);
  if (fd < 0) return result;
  if (!was_there)
    Log(kCreate, InodeOf(fd), 0, path, strlen(path));
  else if (truncates && S_ISREG(before.st_mode))
    Log(kTruncate, InodeOf(fd), 0, nullptr, 0);
  return result;
}

int Number(int fd) { return fd; }
int NumberOf(FILE* file) { return file == nullptr ? -1 : fileno(file); }

int Open(const char* path, int flags, int (*real)(const char*, int, ...), mode_t mode) {
  if ((flags & (O_CREAT | O_TRUNC)) == 0) return real(path, flags, mode);
  return Opening(path, (flags & O_TRUNC) != 0, Number, [&] { return real(path, flags, mode); });
}

// Writes by `act`; what the kernel took of `data` is recorded where it came to lie.
template <typename Act>
ssize_t Writing(int fd, int64_t at, const char* data, Act act) {
  const Turn turn;
  const ssize_t size = act();
  if (size <= 0) return size;
  if (at < 0) at = lseek(fd, 0, SEEK_CUR) - size;
  Log(kWrite, InodeOf(fd), static_cast<uint64_t>(at), data, static_cast<size_t>(size));
  return size;
}

template <typename Act>
int Truncating(int fd, int64_t size, Act act) {
  if (!IsOurs(fd)) return act();
  const Turn turn;
  const int result = act();
  if (result == 0) Log(kTruncate, InodeOf(fd), static_cast<uint64_t>(size), nullptr, 0);
  return result;
}

template <typename Act>
int Syncing(int fd, Act act) {
  if (!IsOurs(fd)) return act();
  const Turn turn;
  Log(kSync, InodeOf(fd), 0, nullptr, 0);
  return 0;
}

}  // namespace

extern "C" {

int fsync(int fd) {
  return Syncing(fd, [&] { return REAL(fsync)(fd); });
}
int fdatasync(int fd) {
  return Syncing(fd, [&] { return REAL(fdatasync)(fd); });
}

ssize_t write(int fd, const void* from, size_t size) {
  const auto act = [&] { return REAL(write)(fd, from, size); };
  return IsOurs(fd) ? Writing(fd, -1, static_cast<const char*>(from), act) : act();
}
ssize_t pwrite(int fd, const void* from, size_t size, off_t at) {
  const auto act = [&] { return REAL(pwrite)(fd, from, size, at); };
  return IsOurs(fd) ? Writing(fd, at, static_cast<const char*>(from), act) : act();
}
ssize_t pwrite64(int fd, const void* from, size_t size, off64_t at) {
  const auto act = [&] { return REAL(pwrite64)(fd, from, size, at); };
  return IsOurs(fd) ? Writing(fd, at, static_cast<const char*>(from), act) : act();
}
ssize_t writev(int fd, const iovec* parts, int count) {
  const auto act = [&] { return REAL(writev)(fd, parts, count); };
  if (!IsOurs(fd)) return act();
  std::string data;
  for (int i = 0; i < count; ++i)
    data.append(static_cast<const char*>(parts[i].iov_base), parts[i].iov_len);
  return Writing(fd, -1, data.data(), act);
}
int ftruncate(int fd, off_t size) noexcept {
  return Truncating(fd, size, [&] { return REAL(ftruncate)(fd, size); });
}
int ftruncate64(int fd, off64_t size) noexcept {
  return Truncating(fd, size, [&] { return REAL(ftruncate64)(fd, size); });
}

int rename(const char* from, const char* to) noexcept {
  return OnPaths(kRename, from, to, [&] { return REAL(rename)(from, to); });
}
int link(const char* from, const char* to) noexcept {
  return OnPaths(kLink, from, to, [&] { return REAL(link)(from, to); });
}
int mkdir(const char* path, mode_t mode) noexcept {
  return OnPath(kMkdir, path, [&] { return REAL(mkdir)(path, mode); });
}
char* mkdtemp(char* path) noexcept {
  if (!IsOurs(path)) return REAL(mkdtemp)(path);
  char* made = nullptr;
  OnPath(kMkdir, path, [&] { return (made = REAL(mkdtemp)(path)) == nullptr ? -1 : 0; });
  return made;
}
int rmdir(const char* path) noexcept {
  return OnPath(kUnlink, path, [&] { return REAL(rmdir)(path); });
}
int unlink(const char* path) noexcept {
  return OnPath(kUnlink, path, [&] { return REAL(unlink)(path); });
}
int remove(const char* path) noexcept {
  return OnPath(kUnlink, path, [&] { return REAL(remove)(path); });
}
int unlinkat(int dir, const char* path, int flags) noexcept {
  const std::string full = dir < 0 ? path : PathOf(dir) + "/" + path;
  return OnPath(kUnlink, full.c_str(), [&] { return REAL(unlinkat)(dir, path, flags); });
}

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return Open(path, flags, REAL(open), mode);
}
int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return Open(path, flags, REAL(open64), mode);
}
int mkostemp(char* path, int flags) {
  return Opening(path, false, Number, [&] { return REAL(mkostemp)(path, flags); });
}
FILE* fopen64(const char* path, const char* mode) {
  const auto act = [&] { return REAL(fopen64)(path, mode); };
  return mode[0] == 'r' ? act() : Opening(path, mode[0] == 'w', NumberOf, act);
}

}  // extern "C"
