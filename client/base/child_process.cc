#include "client/base/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"

namespace ftd {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// posix_spawn is safe in a process with threads.
absl::StatusOr<pid_t> Spawn(const std::vector<std::string>& arguments, int output) {
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
  pid_t pid = -1;
  const int failed = posix_spawn(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return ErrnoError(failed, absl::StrCat("run ", arguments[0]));
  return pid;
}

// Reads until the other end is closed. Returns false if `end` comes first.
bool ReadToEnd(int fd, steady_clock::time_point end, std::string* output) {
  char buffer[4096];
  while (true) {
    const auto left = std::chrono::duration_cast<milliseconds>(end - steady_clock::now()).count();
    if (left <= 0) return false;
    pollfd readable = {fd, POLLIN, 0};
    if (poll(&readable, 1, static_cast<int>(left)) <= 0) continue;
    const ssize_t count = read(fd, buffer, sizeof(buffer));
    if (count <= 0) return true;
    output->append(buffer, static_cast<size_t>(count));
  }
}

}  // namespace

absl::StatusOr<ChildResult> RunChild(const std::vector<std::string>& argv, milliseconds limit) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return ErrnoError(errno, "pipe");
  const Fd reading(ends[0]);
  Fd writing(ends[1]);
  FTD_ASSIGN_OR_RETURN(const pid_t pid, Spawn(argv, writing.get()));
  // The child has its own copy. As long as ours is open there is no end of file.
  writing.Reset();
  ChildResult result;
  // A grandchild that keeps the pipe open counts as running.
  const bool ended = ReadToEnd(reading.get(), steady_clock::now() + limit, &result.output);
  if (!ended) kill(pid, SIGKILL);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!ended) {
    return absl::DeadlineExceededError(
        absl::StrCat(argv[0], " has not ended after ", limit.count() / 1000, " seconds"));
  }
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

absl::StatusOr<std::string> InTrustedHands(const std::string& program) {
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(program, error);
  if (error) return ErrnoError(error.value(), absl::StrCat("run ", program));
  // Each directory up to the root: whoever can write to one can replace what is below it.
  for (std::filesystem::path path = real;; path = path.parent_path()) {
    struct stat found {};
    const bool known = lstat(path.c_str(), &found) == 0;
    const bool ours = known && (found.st_uid == 0 || found.st_uid == geteuid());
    // In a sticky directory only owners replace what is theirs.
    const bool guarded = (found.st_mode & (S_IWGRP | S_IWOTH)) == 0 ||
                         (S_ISDIR(found.st_mode) && (found.st_mode & S_ISVTX) != 0);
    if (!ours || !guarded) {
      return absl::PermissionDeniedError(
          absl::StrCat(path.string(), " can be changed by others than root and you"));
    }
    if (!path.has_relative_path()) return real.string();
  }
}

std::string ProgramBeside(const std::string& name) {
  std::error_code error;
  std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  return program.replace_filename(name).string();
}

}  // namespace ftd
