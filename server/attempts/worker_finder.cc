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

// Returns whether one of the process's descriptors carries the lock.
bool HoldsLock(const fs::path& process, const struct stat& lock) {
  std::error_code gone_or_forbidden;
  for (const auto& fd : fs::directory_iterator(process / "fd", gone_or_forbidden))
    if (HoldsLock(process, fd.path(), lock)) return true;
  return false;
}

// Returns whether the process was started with `entry` in its environment. In /proc/PID/environ
// each entry ends with a NUL.
bool WasGiven(const fs::path& process, const std::string& entry) {
  const auto environment = ReadFile(process / "environ");
  if (!environment.ok()) return false;
  return absl::StrContains(std::string(1, '\0') + *environment,
                           std::string(1, '\0') + entry + std::string(1, '\0'));
}

// Looks through the processes that may be looked into, those of the daemon's own user.
std::vector<pid_t> LeftoversOf(const fs::path& dir) {
  std::vector<pid_t> found;
  struct stat lock {};  // of no file, if there is none
  stat((dir / kWorkerLock).c_str(), &lock);
  const std::string entry = absl::StrCat(kAttemptVariable, "=", dir.string());
  std::error_code error;
  for (const auto& process : fs::directory_iterator("/proc", error)) {
    pid_t pid = 0;
    if (!absl::SimpleAtoi(process.path().filename().string(), &pid) || pid == getpid()) continue;
    if (WasGiven(process.path(), entry) || HoldsLock(process.path(), lock)) found.push_back(pid);
  }
  return found;
}

}  // namespace

void KillLeftovers(const fs::path& dir) {
  for (int look = 0; look < kLooks; ++look) {
    const std::vector<pid_t> leftovers = LeftoversOf(dir);
    const auto held = WorkerLives(dir);
    if (leftovers.empty() && held.ok() && !*held) return;
    for (const pid_t pid : leftovers) {
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
