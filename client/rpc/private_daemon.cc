#include "client/rpc/private_daemon.h"
#include "client/base/programs.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <csignal>

#include <cerrno>
#include <chrono>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr auto kStartLimit = std::chrono::seconds(10);
constexpr auto kStopLimit = std::chrono::seconds(20);
constexpr size_t kLongestSocketPath = 107;  // sockaddr_un

absl::StatusOr<fs::path> NewDirectory(const fs::path& pattern) {
  std::error_code error;
  fs::create_directories(pattern.parent_path(), error);
  std::string name = pattern;
  if (mkdtemp(name.data()) == nullptr)
    return ErrnoError(errno, absl::StrCat("mkdir ", pattern.string()));
  return fs::path(name);
}

// XDG's cache directory; relative values are ignored, as its specification demands.
fs::path CacheHome() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && cache[0] == '/')
    return cache;
  if (const char* home = std::getenv("HOME"); home != nullptr && home[0] == '/')
    return fs::path(home) / ".cache";
  return "/var/tmp";  // on disk, unlike many a /tmp: checkpoints are big
}

// The ftd of the same build, not one in PATH.
absl::StatusOr<fs::path> DaemonBinary() {
  const fs::path binary = ProgramBeside("ftd");
  if (access(binary.c_str(), X_OK) == 0) return binary;
  return Error(Reason::kFtdMissing, absl::StrCat("there is no ftd beside ftctl (", binary.string(),
                                                 "); `ftctl run` needs both"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<PrivateDaemon>> PrivateDaemon::Start(const std::string& state_dir,
                                                                    Signals& signals) {
  std::unique_ptr<PrivateDaemon> daemon(new PrivateDaemon());
  FTD_RETURN_IF_ERROR(daemon->MakeDirectories(state_dir));
  FTD_RETURN_IF_ERROR(daemon->Spawn(signals));
  FTD_RETURN_IF_ERROR(daemon->AwaitSocket(signals));
  return daemon;
}

// The daemon first: its files must not be removed while it writes them.
PrivateDaemon::~PrivateDaemon() {
  Stop();
  std::error_code ignored;
  if (remove_state_) fs::remove_all(state_dir_, ignored);
  if (!socket_dir_.empty()) fs::remove_all(socket_dir_, ignored);
}

absl::Status PrivateDaemon::MakeDirectories(const std::string& state_dir) {
  if (state_dir.empty()) {
    FTD_ASSIGN_OR_RETURN(state_dir_, NewDirectory(CacheHome() / "ftd" / "run-XXXXXX"));
    remove_state_ = true;
  } else {
    std::error_code error;
    state_dir_ = fs::absolute(state_dir, error).lexically_normal();
    fs::create_directories(state_dir_, error);
    if (error) return ErrnoError(error.value(), absl::StrCat("mkdir ", state_dir_.string()));
  }
  log_ = state_dir_ / "ftd.log";
  socket_ = state_dir_ / "run.sock";
  if (socket_.string().size() > kLongestSocketPath) {
    FTD_ASSIGN_OR_RETURN(socket_dir_, NewDirectory("/tmp/ftctl-XXXXXX"));
    socket_ = socket_dir_ / "run.sock";
  }
  std::error_code ignored;
  // The socket's existence shows that ftd listens, so one that an earlier run left has to go.
  fs::remove(socket_, ignored);  // of an earlier run: its existence is how a start is seen
  return absl::OkStatus();
}

// fork and exec, and not posix_spawn, for PR_SET_PDEATHSIG: this ftd must not outlive its ftctl.
// Strings are made before the fork.
absl::Status PrivateDaemon::Spawn(const Signals& signals) {
  FTD_ASSIGN_OR_RETURN(const fs::path binary, DaemonBinary());
  FTD_ASSIGN_OR_RETURN(const Fd log, OpenFile(log_, O_WRONLY | O_CREAT | O_APPEND, 0600));
  FTD_ASSIGN_OR_RETURN(const Fd null, OpenFile("/dev/null", O_RDONLY));
  const std::string listen = address();
  const char* argv[] = {binary.c_str(), "--state-dir",  state_dir_.c_str(),
                        "--listen",     listen.c_str(), "--metrics-listen",
                        "off",          nullptr};
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ < 0) return ErrnoError(errno, "fork");
  if (pid_ > 0) return absl::OkStatus();
  // The child: only calls that are safe after fork.
  // A group of its own: Ctrl-C at the terminal reaches ftctl alone, which then ends the job in
  // order.
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(127);  // it died before prctl
  signal(SIGPIPE, SIG_DFL);
  signals.UnblockInChild();
  dup2(null.get(), STDIN_FILENO);
  dup2(log.get(), STDOUT_FILENO);
  dup2(log.get(), STDERR_FILENO);
  execv(binary.c_str(), const_cast<char**>(argv));
  _exit(127);
}

// Reaps the process, so its pid is not used after this returned true.
bool PrivateDaemon::HasEnded() {
  if (pid_ < 0) return true;
  if (waitpid(pid_, nullptr, WNOHANG) != pid_) return false;
  pid_ = -1;
  return true;
}

// The end of the log has the reason, such as a setting that is wrong.
absl::Status PrivateDaemon::NotStarted(const std::string& why) const {
  const std::string log = ReadFile(log_).value_or("");
  constexpr size_t kTail = 2000;
  return absl::UnavailableError(absl::StrCat("the private ftd ", why, ":\n",
                                             log.substr(log.size() - std::min(log.size(), kTail))));
}

// Polls for the socket's file every 5 ms; Ctrl-C and the end of ftd end the wait.
absl::Status PrivateDaemon::AwaitSocket(Signals& signals) {
  const auto deadline = steady_clock::now() + kStartLimit;
  while (steady_clock::now() < deadline) {
    std::error_code ignored;
    if (fs::exists(socket_, ignored)) return absl::OkStatus();
    if (HasEnded()) return NotStarted("ended at once");
    pollfd input = {signals.fd(), POLLIN, 0};
    poll(&input, 1, 5);
    if (signals.Take() != 0) return Error(Reason::kInterrupted, "interrupted");
  }
  return NotStarted("did not listen within ten seconds");
}

// SIGTERM first: ftd may write a checkpoint and remove its files. It takes a second one, once it
// has seen the first, to mean that there is no time.
void PrivateDaemon::Stop(bool at_once) {
  if (pid_ < 0) return;
  kill(pid_, SIGTERM);
  if (at_once) {
    poll(nullptr, 0, 200);
    if (!HasEnded()) kill(pid_, SIGTERM);
  }
  const auto deadline = steady_clock::now() + kStopLimit;
  while (!HasEnded()) {
    if (steady_clock::now() > deadline) kill(pid_, SIGKILL);
    poll(nullptr, 0, 10);
  }
}

}  // namespace ftd
