#include "server/attempts/worker_finder.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "server/attempts/attempt_files.h"
#include "server/attempts/attempt_start.h"
#include "server/host/log.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

constexpr int kLooks = 100, kPauseMs = 10;

// Returns whether the descriptor, /proc/PID/fd/N, is of the file and carries a lock by flock. A
// program that only reads the file has no lock.
bool HoldsLock(const fs::path& process, const fs::path& descriptor, const struct stat& file) {
  struct stat found;
  if (stat(descriptor.c_str(), &found) != 0) return false;
  if (found.st_dev != file.st_dev || found.st_ino != file.st_ino) return false;
  const auto info = ReadFile(process / "fdinfo" / descriptor.filename());
  return info.ok() && absl::StrContains(*info, "FLOCK");
}

// Looks through the processes whose descriptors may be read, those of the daemon's own user, for
// one that holds the lock.
std::vector<pid_t> HoldersOf(const fs::path& lock) {
  std::vector<pid_t> holders;
  struct stat file;
  if (stat(lock.c_str(), &file) != 0) return holders;
  std::error_code error;
  for (const auto& process : fs::directory_iterator("/proc", error)) {
    pid_t pid = 0;
    if (!absl::SimpleAtoi(process.path().filename().string(), &pid) || pid == getpid()) continue;
    std::error_code gone_or_forbidden;
    for (const auto& fd : fs::directory_iterator(process.path() / "fd", gone_or_forbidden)) {
      if (!HoldsLock(process.path(), fd.path(), file)) continue;
      holders.push_back(pid);
      break;
    }
  }
  return holders;
}

}  // namespace

void KillLeftovers(const fs::path& dir) {
  for (int look = 0; look < kLooks; ++look) {
    const auto held = WorkerLives(dir);
    if (held.ok() && !*held) return;
    for (const pid_t pid : HoldersOf(dir / kWorkerLock)) {
      const Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
      if (look == 0) {
        LogWarning("process ", pid, ", which the worker of ", dir.string(),
                   " left behind, is killed");
      }
      syscall(SYS_pidfd_send_signal, pidfd.get(), SIGKILL, nullptr, 0);
    }
    poll(nullptr, 0, kPauseMs);
  }
  LogError("something holds the lock in ", dir.string(),
           ", whose worker is gone; the queue continues without it");
}

absl::StatusOr<WorkerProcess> FindWorker(const Attempt& attempt, const fs::path& dir) {
  const ProcessIdentity known{
      .pid = attempt.pid, .start_time = attempt.pid_start, .boot_id = attempt.boot_id};
  // The process that is known by pid and start time, or by its command line, is the worker. A lock
  // that is held without it says that the worker is just ending, that the daemon died between fork
  // and exec, or that the worker left other processes; the first two pass. One that has let the
  // lock go may take a while to end, and has the device until then.
  for (int look = 0; look < kLooks; ++look) {
    FTD_ASSIGN_OR_RETURN(const bool locked, WorkerLives(dir));
    FTD_ASSIGN_OR_RETURN(const bool lives, WorkerProcess::Lives(known));
    if (!locked && !lives) break;
    auto process = WorkerProcess::Adopt(dir, known);
    if (process.ok() || !absl::IsNotFound(process.status())) return process;
    poll(nullptr, 0, kPauseMs);
  }
  KillLeftovers(dir);
  return absl::NotFoundError(absl::StrCat("no worker lives in ", dir.string()));
}

}  // namespace ftd
