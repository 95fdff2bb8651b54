// Makes system calls of the program that it is preloaded into fail, take long, write a part, or be
// its last, and moves its wall clock. It reads what to do, at each call, in the file that
// $FTD_FAULTS names and that tests/support/faults.py writes.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "tests/support/real_call.h"

namespace {

enum Call : int32_t {
  kNone,
  kOpen,
  kRead,
  kWrite,
  kSync,
  kRename,
  kUnlink,
  kMkdir,
  kTruncate,
  kAllocate
};
enum Crash : int32_t { kLives, kDiesBefore, kDiesAfter };
enum Who : int32_t { kAnybody, kDaemon, kWorker };

// faults.py packs "<q" and 64 times "<iiiiiiiii92s".
struct Rule {
  Call call;  // kNone: the end of the rules
  int32_t error;
  int32_t delay_ms;
  Crash crash;
  Who who;
  int32_t most_bytes;          // that a write takes; 0: all
  std::atomic<int32_t> skip;   // so many matching calls are left alone first
  std::atomic<int32_t> times;  // so many are met; negative: all
  std::atomic<int32_t> met;
  char path[92];  // that the call's path contains; with a $ after it: that the path ends with
};

struct Faults {
  int64_t clock_offset_ns;
  Rule rules[64];
};

Faults* faults = nullptr;
Who self = kWorker;

__attribute__((constructor)) void Start() {
  const char* path = getenv("FTD_FAULTS");
  const int fd = path == nullptr ? -1 : REAL(open64)(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  void* mapped = mmap(nullptr, sizeof(Faults), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (strcmp(program_invocation_short_name, "ftd") == 0) self = kDaemon;
  if (mapped != MAP_FAILED) faults = static_cast<Faults*>(mapped);
}

bool Any() { return faults != nullptr && faults->rules[0].call != kNone; }

[[noreturn]] void Die() {
  kill(getpid(), SIGKILL);
  while (true) pause();
}

bool Matches(const char* path, const char* pattern) {
  const size_t size = strlen(pattern), length = strlen(path);
  if (size == 0 || pattern[size - 1] != '$') return strstr(path, pattern) != nullptr;
  return length + 1 >= size && memcmp(path + length + 1 - size, pattern, size - 1) == 0;
}

// What a call meets.
struct Met {
  bool fails = false;  // with errno set
  bool dies_after = false;
  int32_t most_bytes = 0;
};

Met Meet(Call call, const char* path, const char* other = "") {
  Met met;
  for (Rule& rule : faults->rules) {
    if (rule.call == kNone) break;
    if (rule.call != call || (rule.who != kAnybody && rule.who != self)) continue;
    if (!Matches(path, rule.path) && !Matches(other, rule.path)) continue;
    if (rule.skip > 0 && rule.skip-- > 0) continue;
    if (rule.times == 0 || (rule.times > 0 && rule.times-- <= 0)) continue;
    ++rule.met;
    if (rule.crash == kDiesBefore) Die();
    met.dies_after |= rule.crash == kDiesAfter;
    if (rule.most_bytes > 0) met.most_bytes = rule.most_bytes;
    if (rule.delay_ms > 0) {
      const timespec pause = {rule.delay_ms / 1000, rule.delay_ms % 1000 * 1000000L};
      nanosleep(&pause, nullptr);
    }
    if (rule.error == 0) continue;
    errno = rule.error;
    met.fails = true;
    break;
  }
  return met;
}

// Calls `act` with what it meets, unless it is to fail or to be never made.
template <typename Act>
auto Through(const Met& met, Act act) -> decltype(act(met)) {
  if (met.fails) return -1;
  const auto result = act(met);
  if (met.dies_after) Die();
  return result;
}

template <typename Act>
auto ThroughPath(Call call, const char* path, Act act) -> decltype(act(Met())) {
  return Through(Any() ? Meet(call, path) : Met(), act);
}

Met MeetFd(Call call, int fd) {
  if (!Any()) return {};
  char link[32], path[512];
  snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  const ssize_t size = readlink(link, path, sizeof(path) - 1);
  if (size < 0 || path[0] != '/') return {};
  path[size] = '\0';
  return Meet(call, path);
}

template <typename Act>
auto ThroughFd(Call call, int fd, Act act) -> decltype(act(Met())) {
  return Through(MeetFd(call, fd), act);
}

size_t Part(size_t size, const Met& met) {
  return met.most_bytes == 0 ? size : std::min<size_t>(size, met.most_bytes);
}

}  // namespace

extern "C" {

int fsync(int fd) {
  return ThroughFd(kSync, fd, [&](const Met&) { return REAL(fsync)(fd); });
}
int fdatasync(int fd) {
  return ThroughFd(kSync, fd, [&](const Met&) { return REAL(fdatasync)(fd); });
}

ssize_t read(int fd, void* to, size_t size) {
  return ThroughFd(kRead, fd, [&](const Met&) { return REAL(read)(fd, to, size); });
}
ssize_t pread(int fd, void* to, size_t size, off_t at) {
  return ThroughFd(kRead, fd, [&](const Met&) { return REAL(pread)(fd, to, size, at); });
}
ssize_t pread64(int fd, void* to, size_t size, off64_t at) {
  return ThroughFd(kRead, fd, [&](const Met&) { return REAL(pread64)(fd, to, size, at); });
}
ssize_t write(int fd, const void* from, size_t size) {
  return ThroughFd(kWrite, fd,
                   [&](const Met& met) { return REAL(write)(fd, from, Part(size, met)); });
}
ssize_t pwrite(int fd, const void* from, size_t size, off_t at) {
  return ThroughFd(kWrite, fd,
                   [&](const Met& met) { return REAL(pwrite)(fd, from, Part(size, met), at); });
}
ssize_t pwrite64(int fd, const void* from, size_t size, off64_t at) {
  return ThroughFd(kWrite, fd,
                   [&](const Met& met) { return REAL(pwrite64)(fd, from, Part(size, met), at); });
}
int ftruncate64(int fd, off64_t size) noexcept {
  return ThroughFd(kTruncate, fd, [&](const Met&) { return REAL(ftruncate64)(fd, size); });
}
int fallocate64(int fd, int mode, off64_t at, off64_t size) {
  return ThroughFd(kAllocate, fd,
                   [&](const Met&) { return REAL(fallocate64)(fd, mode, at, size); });
}
int fallocate(int fd, int mode, off_t at, off_t size) {
  return ThroughFd(kAllocate, fd, [&](const Met&) { return REAL(fallocate)(fd, mode, at, size); });
}

int rename(const char* from, const char* to) noexcept {
  return Through(Any() ? Meet(kRename, from, to) : Met(),
                 [&](const Met&) { return REAL(rename)(from, to); });
}
int mkdir(const char* path, mode_t mode) noexcept {
  return ThroughPath(kMkdir, path, [&](const Met&) { return REAL(mkdir)(path, mode); });
}
int unlink(const char* path) noexcept {
  return ThroughPath(kUnlink, path, [&](const Met&) { return REAL(unlink)(path); });
}
int remove(const char* path) noexcept {
  return ThroughPath(kUnlink, path, [&](const Met&) { return REAL(remove)(path); });
}
// Below a directory that is open: std::filesystem::remove_all.
int unlinkat(int dir, const char* path, int flags) noexcept {
  char full[1024] = "";
  if (Any() && dir >= 0) {
    char link[32];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", dir);
    const ssize_t size = readlink(link, full, sizeof(full) / 2);
    full[std::max<ssize_t>(size, 0)] = '\0';
    strcat(full, "/");
  }
  strncat(full, path, sizeof(full) / 2 - 2);
  return ThroughPath(kUnlink, full, [&](const Met&) { return REAL(unlinkat)(dir, path, flags); });
}

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return ThroughPath(kOpen, path, [&](const Met&) { return REAL(open)(path, flags, mode); });
}
int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return ThroughPath(kOpen, path, [&](const Met&) { return REAL(open64)(path, flags, mode); });
}
int mkostemp(char* path, int flags) {
  return ThroughPath(kOpen, path, [&](const Met&) { return REAL(mkostemp)(path, flags); });
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
