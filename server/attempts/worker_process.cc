#include "server/attempts/worker_process.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "lib/base/error.h"
#include "lib/base/libtorch_path.h"
#include "server/attempts/attempt_files.h"

extern char** environ;

namespace ftd {
namespace {

namespace fs = std::filesystem;

constexpr int kWorkerLockFd = 3, kWorkerTokenFd = 4;

// Returns whether the worker may inherit an entry of the environment: enough to find its libraries
// and settings, and none of the daemon's secrets. A list of what is allowed, so that a variable
// that nobody thought of is left out.
bool MayInherit(const char* entry) {
  constexpr const char* kPrefixes[] = {"PATH=",
                                       "HOME=",
                                       "LANG=",
                                       "LC_ALL=",
                                       "TMPDIR=",
                                       "TZ=",
                                       "OMP_",
                                       "MKL_",
                                       "KMP_",
                                       "GOMP_",
                                       "ATEN_",
                                       "ONEDNN_",
                                       "CUDA_",
                                       "NVIDIA_",
                                       "CUBLAS_",
                                       "PYTORCH_",
                                       "FTD_",
                                       "MALLOC_",
                                       "GLIBC_TUNABLES=",
                                       "http_proxy=",
                                       "https_proxy=",
                                       "HTTPS_PROXY=",
                                       "all_proxy=",
                                       "ALL_PROXY=",
                                       "no_proxy=",
                                       "NO_PROXY=",
                                       "SSL_CERT_FILE=",
                                       "ASAN_OPTIONS=",
                                       "TSAN_OPTIONS=",
                                       "UBSAN_OPTIONS=",
                                       "LSAN_OPTIONS="};
  if (absl::StartsWith(entry, absl::StrCat(kAttemptVariable, "="))) return false;  // another's
  for (const char* prefix : kPrefixes) {
    if (absl::StartsWith(entry, prefix)) return true;
  }
  return false;
}

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Returns the worker's environment. Its pointers refer to `environ` and to `library_path` and
// `attempt`, which are "LD_LIBRARY_PATH=…" and "FTD_ATTEMPT_DIR=…" and have to outlive it.
std::vector<char*> WorkerEnvironment(std::string& library_path, std::string& attempt) {
  std::vector<char*> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (MayInherit(*entry)) environment.push_back(*entry);
  }
  environment.push_back(library_path.data());
  environment.push_back(attempt.data());
  // OpenMP threads that spin at every barrier cost a busy machine whole time slices, and win an
  // idle one next to nothing.
  if (std::getenv("OMP_WAIT_POLICY") == nullptr) {
    static char wait_policy[] = "OMP_WAIT_POLICY=PASSIVE";
    environment.push_back(wait_policy);
  }
  environment.push_back(nullptr);
  return environment;
}

// Returns field 22 of /proc/PID/stat. The second field, the program's name in parentheses, may
// contain spaces and parentheses, so fields are counted from the last ')'.
absl::StatusOr<int64_t> StartTime(int64_t pid) {
  FTD_ASSIGN_OR_RETURN(const std::string stat, ReadFile(absl::StrCat("/proc/", pid, "/stat")));
  const size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos) return absl::InternalError("/proc/PID/stat has no name");
  const std::vector<std::string> fields = absl::StrSplit(stat.substr(name_end + 2), ' ');
  int64_t start = 0;
  // The list begins with field 3.
  if (fields.size() < 20 || !absl::SimpleAtoi(fields[19], &start)) {
    return absl::InternalError("/proc/PID/stat has no start time");
  }
  return start;
}

// File actions and attributes of a spawn, with their owners.
struct SpawnPlan {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  SpawnPlan() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
};

void PlanDescriptors(SpawnPlan& plan, const fs::path& attempt_dir, const Fd& lock,
                     const Fd& token) {
  const std::string log = (attempt_dir / kWorkerLog).string();
  posix_spawn_file_actions_addopen(&plan.actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&plan.actions, STDOUT_FILENO, log.c_str(),
                                   O_WRONLY | O_APPEND | O_CREAT, 0640);
  posix_spawn_file_actions_adddup2(&plan.actions, STDOUT_FILENO, STDERR_FILENO);
  // Descriptor 3 first: the token's descriptor is above both (SecretFile), so this cannot overwrite
  // it. A dup2 onto the same number clears close-on-exec, as it should.
  posix_spawn_file_actions_adddup2(&plan.actions, lock.get(), kWorkerLockFd);
  posix_spawn_file_actions_adddup2(&plan.actions, token.get(), kWorkerTokenFd);
  posix_spawn_file_actions_addclosefrom_np(&plan.actions, kWorkerTokenFd + 1);
  posix_spawn_file_actions_addchdir_np(&plan.actions, attempt_dir.c_str());
}

// Returns a file in memory that holds `secret`, on a descriptor above those that the worker is
// given.
absl::StatusOr<Fd> SecretFile(const std::string& secret) {
  const Fd memory(memfd_create("secret", MFD_CLOEXEC));
  if (!memory.valid()) return ErrnoError(errno, "memfd_create");
  FTD_RETURN_IF_ERROR(WriteAll(memory.get(), secret, "a file in memory"));
  // The duplicate shares this offset, and the worker reads from it.
  lseek(memory.get(), 0, SEEK_SET);
  Fd high(fcntl(memory.get(), F_DUPFD_CLOEXEC, kWorkerTokenFd + 1));
  if (!high.valid()) return ErrnoError(errno, "dup");
  return high;
}

// Gives the worker a fresh process's signals: the daemon blocks some and ignores SIGPIPE.
void PlanSignals(SpawnPlan& plan) {
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&plan.attributes, &none);
  posix_spawnattr_setsigdefault(&plan.attributes, &all);
  posix_spawnattr_setflags(&plan.attributes,
                           POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
}

// Returns the pid of the process whose arguments are those that Spawn gives for `attempt_dir` and
// which leads the session that Spawn made. /proc/PID/cmdline ends each argument with a NUL.
absl::StatusOr<int64_t> FindByCommandLine(const fs::path& attempt_dir) {
  const std::string wanted = absl::StrCat(std::string(1, '\0'), "--dir", std::string(1, '\0'),
                                          attempt_dir.string(), std::string(1, '\0'));
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    int64_t pid = 0;
    if (!absl::SimpleAtoi(entry.path().filename().string(), &pid)) continue;
    const auto command_line = ReadFile(entry.path() / "cmdline");
    const bool named = command_line.ok() && absl::StrContains(*command_line, wanted);
    if (named && getsid(static_cast<pid_t>(pid)) == pid) return pid;
    // Others' processes may be hidden, and any may end meanwhile.
    const bool exists = access(entry.path().c_str(), F_OK) == 0;
    if (!command_line.ok() && exists && ReasonOf(command_line.status()) != Reason::kPathNotWritable)
      return command_line.status();
  }
  if (error) return ErrnoError(error.value(), "list /proc");
  return absl::NotFoundError(absl::StrCat("no process works on ", attempt_dir.string()));
}

// A pidfd is readable once its process has ended, also while that is a zombie.
bool HasEnded(int pidfd) {
  pollfd polled{.fd = pidfd, .events = POLLIN};
  return poll(&polled, 1, 0) > 0;
}

}  // namespace

absl::Duration AgeOf(const ProcessIdentity& process) {
  timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  const double started =
      static_cast<double>(process.start_time) / static_cast<double>(sysconf(_SC_CLK_TCK));
  return std::max(absl::DurationFromTimespec(now) - absl::Seconds(started), absl::ZeroDuration());
}

std::string BootId() {
  const auto id = ReadFile("/proc/sys/kernel/random/boot_id");
  return id.ok() ? std::string(absl::StripAsciiWhitespace(*id)) : "";
}

absl::StatusOr<WorkerProcess> WorkerProcess::Spawn(const std::string& program,
                                                   const fs::path& attempt_dir, const Fd& lock,
                                                   const std::string& hub_token) {
  FTD_ASSIGN_OR_RETURN(const Fd token, SecretFile(hub_token));
  SpawnPlan plan;
  PlanDescriptors(plan, attempt_dir, lock, token);
  PlanSignals(plan);
  std::string arguments[] = {program,      "attempt",
                             "--dir",      attempt_dir.string(),
                             "--lock-fd",  std::to_string(kWorkerLockFd),
                             "--token-fd", std::to_string(kWorkerTokenFd)};
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  FTD_ASSIGN_OR_RETURN(std::string library_path,
                       LibraryPathFor(Variable("FTD_LIBTORCH"), Variable("LD_LIBRARY_PATH")));
  library_path.insert(0, "LD_LIBRARY_PATH=");
  std::string attempt = absl::StrCat(kAttemptVariable, "=", attempt_dir.string());
  const std::vector<char*> environment = WorkerEnvironment(library_path, attempt);
  pid_t pid = 0;
  const int error = posix_spawn(&pid, program.c_str(), &plan.actions, &plan.attributes, argv.data(),
                                environment.data());
  if (error != 0) return ErrnoError(error, absl::StrCat("start the worker ", program));
  return Open(pid);
}

// The pidfd refers to this very process from here on, whatever becomes of the number.
absl::StatusOr<WorkerProcess> WorkerProcess::Open(int64_t pid) {
  Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0)));
  const std::string what = absl::StrCat("open process ", pid);
  if (!pidfd.valid()) return errno == ESRCH ? absl::NotFoundError(what) : ErrnoError(errno, what);
  const auto start_time = StartTime(pid);
  if (!start_time.ok())
    return HasEnded(pidfd.get()) ? absl::NotFoundError(what) : start_time.status();
  return WorkerProcess({.pid = pid, .start_time = *start_time, .boot_id = BootId()},
                       std::move(pidfd));
}

absl::StatusOr<WorkerProcess> WorkerProcess::Adopt(const fs::path& attempt_dir,
                                                   const ProcessIdentity& known) {
  if (known.pid != 0) {
    if (known.boot_id != BootId()) return absl::NotFoundError("the machine was restarted");
    // The pidfd is opened first: from then on the start time is that of the process that it holds.
    auto process = Open(known.pid);
    if (!process.ok() || process->identity_.start_time == known.start_time) return process;
    return absl::NotFoundError(absl::StrCat("process ", known.pid, " is another one by now"));
  }
  FTD_ASSIGN_OR_RETURN(const int64_t pid, FindByCommandLine(attempt_dir));
  return Open(pid);
}

// Pids are used again, and after a reboot the start times begin again as well.
absl::StatusOr<bool> WorkerProcess::Lives(const ProcessIdentity& known) {
  if (known.pid == 0 || known.boot_id != BootId()) return false;
  const auto process = Open(known.pid);
  if (absl::IsNotFound(process.status())) return false;
  FTD_RETURN_IF_ERROR(process.status());
  return process->identity_.start_time == known.start_time && !HasEnded(process->pidfd_.get());
}

void WorkerProcess::Signal(int signal) {
  syscall(SYS_pidfd_send_signal, pidfd_.get(), signal, nullptr, 0);
}

void WorkerProcess::KillGroup() {
  // While the leader lives, or is an unreaped child of ours, no stranger can have its number as a
  // group.
  if (!HasEnded(pidfd_.get())) kill(static_cast<pid_t>(-identity_.pid), SIGKILL);
  Signal(SIGKILL);
}

std::optional<ExitStatus> WorkerProcess::Reap() {
  if (!HasEnded(pidfd_.get())) return std::nullopt;
  siginfo_t info{};
  const auto id = static_cast<id_t>(identity_.pid);
  // ECHILD: the worker of an earlier daemon, reaped by somebody else. WNOWAIT leaves the zombie in
  // place, so its pid, which is its group's number too, cannot be given away before the rest of the
  // group is killed.
  if (waitid(P_PID, id, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) {
    return ExitStatus{};
  }
  kill(static_cast<pid_t>(-identity_.pid), SIGKILL);
  waitid(P_PID, id, &info, WEXITED | WNOHANG);
  if (info.si_code == CLD_EXITED) return ExitStatus{.exit_code = info.si_status};
  return ExitStatus{.signal = info.si_status};
}

}  // namespace ftd
