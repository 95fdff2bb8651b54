#include "lib/base/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "lib/base/error.h"
#include "lib/base/file.h"

extern char** environ;

namespace ftd {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr size_t kMostOutput = 64 << 10;

// Pointers to the strings, with the null at the end that exec wants.
std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (const std::string& string : strings) pointers.push_back(const_cast<char*>(string.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// A file in memory and not a pipe: a program that reads nothing holds nobody up.
absl::StatusOr<Fd> InputFile(const std::string& input) {
  if (input.empty()) return OpenFile("/dev/null", O_RDONLY);
  Fd file(memfd_create("input", MFD_CLOEXEC));
  if (!file.valid()) return ErrnoError(errno, "memfd_create");
  FTD_RETURN_IF_ERROR(WriteAll(file.get(), input, "input"));
  if (lseek(file.get(), 0, SEEK_SET) != 0) return ErrnoError(errno, "lseek");
  return file;
}

// posix_spawn is safe in a process with threads. The child gets none of the signal settings that
// suit this process.
absl::StatusOr<pid_t> Spawn(const std::vector<std::string>& arguments, const ChildOptions& options,
                            int input, int output) {
  std::vector<std::string> environment = options.environment;
  for (char** entry = environ; *entry != nullptr; ++entry) environment.emplace_back(*entry);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, broken_pipe;
  sigemptyset(&none);
  sigemptyset(&broken_pipe);
  sigaddset(&broken_pipe, SIGPIPE);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &broken_pipe);
  short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
  if (options.own_group) flags |= POSIX_SPAWN_SETPGROUP;
  posix_spawnattr_setflags(&attributes, flags);
  pid_t pid = -1;
  const int failed = posix_spawn(&pid, arguments[0].c_str(), &actions, &attributes,
                                 Pointers(arguments).data(), Pointers(environment).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return ErrnoError(failed, absl::StrCat("run ", arguments[0]));
  return pid;
}

// How long to wait before the next look; DEADLINE_EXCEEDED or CANCELLED if there is none.
absl::StatusOr<int> NextWaitMs(const ChildOptions& options, steady_clock::time_point end) {
  constexpr auto kLook = milliseconds(100);
  if (options.cancelled && options.cancelled()) return absl::CancelledError("cancelled");
  const auto left = std::chrono::ceil<milliseconds>(end - steady_clock::now());
  if (left <= milliseconds(0)) return absl::DeadlineExceededError("too late");
  return static_cast<int>(std::min(left, kLook).count());
}

// Reads until the other end is closed: a grandchild that keeps it open counts as running.
absl::Status ReadToEnd(int fd, const ChildOptions& options, steady_clock::time_point end,
                       std::string* output) {
  char buffer[4096];
  while (true) {
    FTD_ASSIGN_OR_RETURN(const int wait_ms, NextWaitMs(options, end));
    pollfd readable = {fd, POLLIN, 0};
    if (poll(&readable, 1, wait_ms) <= 0) continue;
    const ssize_t count = read(fd, buffer, sizeof(buffer));
    if (count <= 0) return absl::OkStatus();
    output->append(buffer, std::min(static_cast<size_t>(count), kMostOutput - output->size()));
  }
}

// A program may close its output long before it ends. Mostly it ends at once.
absl::Status WaitForEnd(pid_t pid, const ChildOptions& options, steady_clock::time_point end,
                        int* status) {
  for (int wait_ms = 1;; wait_ms *= 2) {
    const pid_t ended = waitpid(pid, status, WNOHANG);
    if (ended == pid) return absl::OkStatus();
    FTD_ASSIGN_OR_RETURN(const int most_ms, NextWaitMs(options, end));
    std::this_thread::sleep_for(milliseconds(std::min(wait_ms, most_ms)));
  }
}

}  // namespace

absl::StatusOr<ChildResult> RunChild(const std::vector<std::string>& argv,
                                     const ChildOptions& options) {
  FTD_ASSIGN_OR_RETURN(const Fd input, InputFile(options.input));
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return ErrnoError(errno, "pipe");
  const Fd reading(ends[0]);
  Fd writing(ends[1]);
  FTD_ASSIGN_OR_RETURN(const pid_t pid, Spawn(argv, options, input.get(), writing.get()));
  // The child has its own copy. As long as ours is open there is no end of file.
  writing.Reset();
  ChildResult result;
  int status = 0;
  const auto end = steady_clock::now() + options.limit;
  absl::Status ended = ReadToEnd(reading.get(), options, end, &result.output);
  if (ended.ok()) ended = WaitForEnd(pid, options, end, &status);
  if (!ended.ok()) {
    kill(options.own_group ? -pid : pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
  }
  if (absl::IsDeadlineExceeded(ended)) {
    return absl::DeadlineExceededError(
        absl::StrCat(argv[0], " has not ended after ", options.limit.count() / 1000, " seconds"));
  }
  FTD_RETURN_IF_ERROR(ended);
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

std::string LastLine(const std::string& output) {
  const std::vector<std::string> lines = absl::StrSplit(output, '\n', absl::SkipWhitespace());
  return lines.empty() ? "" : lines.back();
}

}  // namespace ftd
