// Makes system calls of the program that it is preloaded into fail or take long, and moves its wall
// clock. It reads what to do, at each call, in the file that $FTD_FAULTS names and that
// tests/support/faults.py writes.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace {

enum Call : int32_t { kNone, kOpen, kRead, kWrite, kSync, kRename, kUnlink };

// faults.py packs "<q" and eight times "<iiiiii104s".
struct Rule {
  Call call;  // kNone: the end of the rules
  int32_t error;
  int32_t delay_ms;
  std::atomic<int32_t> skip;   // so many matching calls are left alone first
  std::atomic<int32_t> times;  // so many are met; negative: all
  std::atomic<int32_t> met;
  char path[104];  // that the call's path contains
};

struct Faults {
  int64_t clock_offset_ns;
  Rule rules[8];
};

Faults* faults = nullptr;

template <typename Function>
Function* Real(Function* /*like*/, const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}
#define REAL(name)                                \
  ([]() {                                         \
    static auto* const real = Real(&name, #name); \
    return real;                                  \
  }())

__attribute__((constructor)) void Start() {
  const char* path = getenv("FTD_FAULTS");
  const int fd = path == nullptr ? -1 : REAL(open64)(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  void* mapped = mmap(nullptr, sizeof(Faults), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (mapped != MAP_FAILED) faults = static_cast<Faults*>(mapped);
}

bool Any() { return faults != nullptr && faults->rules[0].call != kNone; }

// Returns true, with errno set, where the call is to fail.
bool Fails(Call call, const char* path) {
  for (Rule& rule : faults->rules) {
    if (rule.call == kNone) return false;
    if (rule.call != call || strstr(path, rule.path) == nullptr) continue;
    if (rule.skip > 0 && rule.skip-- > 0) continue;
    if (rule.times == 0 || (rule.times > 0 && rule.times-- <= 0)) continue;
    ++rule.met;
    if (rule.delay_ms > 0) {
      const timespec pause = {rule.delay_ms / 1000, rule.delay_ms % 1000 * 1000000L};
      nanosleep(&pause, nullptr);
    }
    if (rule.error == 0) continue;
    errno = rule.error;
    return true;
  }
  return false;
}

bool PathFails(Call call, const char* path) { return Any() && Fails(call, path); }

bool FdFails(Call call, int fd) {
  if (!Any()) return false;
  char link[32], path[512];
  snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  const ssize_t size = readlink(link, path, sizeof(path) - 1);
  if (size < 0 || path[0] != '/') return false;
  path[size] = '\0';
  return Fails(call, path);
}

}  // namespace

extern "C" {

int fsync(int fd) { return FdFails(kSync, fd) ? -1 : REAL(fsync)(fd); }
int fdatasync(int fd) { return FdFails(kSync, fd) ? -1 : REAL(fdatasync)(fd); }

ssize_t read(int fd, void* to, size_t size) {
  return FdFails(kRead, fd) ? -1 : REAL(read)(fd, to, size);
}
ssize_t pread(int fd, void* to, size_t size, off_t at) {
  return FdFails(kRead, fd) ? -1 : REAL(pread)(fd, to, size, at);
}
ssize_t pread64(int fd, void* to, size_t size, off64_t at) {
  return FdFails(kRead, fd) ? -1 : REAL(pread64)(fd, to, size, at);
}
ssize_t write(int fd, const void* from, size_t size) {
  return FdFails(kWrite, fd) ? -1 : REAL(write)(fd, from, size);
}
ssize_t pwrite64(int fd, const void* from, size_t size, off64_t at) {
  return FdFails(kWrite, fd) ? -1 : REAL(pwrite64)(fd, from, size, at);
}

int rename(const char* from, const char* to) noexcept {
  return PathFails(kRename, from) || PathFails(kRename, to) ? -1 : REAL(rename)(from, to);
}

// The name alone where it is meant below a directory that is open: std::filesystem::remove_all.
int unlinkat(int dir, const char* path, int flags) noexcept {
  return PathFails(kUnlink, path) ? -1 : REAL(unlinkat)(dir, path, flags);
}

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return PathFails(kOpen, path) ? -1 : REAL(open)(path, flags, mode);
}
int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return PathFails(kOpen, path) ? -1 : REAL(open64)(path, flags, mode);
}

int clock_gettime(clockid_t clock, timespec* time) noexcept {
  const int result = REAL(clock_gettime)(clock, time);
  if (result != 0 || clock != CLOCK_REALTIME || faults == nullptr) return result;
  constexpr int64_t kSecond = 1000000000;
  const int64_t ns = time->tv_sec * kSecond + time->tv_nsec + faults->clock_offset_ns;
  time->tv_sec = ns / kSecond;
  time->tv_nsec = ns % kSecond;
  return result;
}

}  // extern "C"
