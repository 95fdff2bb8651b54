// An ftd of one's own, for `ftctl run`.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/base/signals.h"

namespace ftd {

// A child process. It has its own process group, so that Ctrl-C on the terminal does not reach it,
// and gets SIGTERM from the kernel if this process dies. Not thread-safe; Start must come before
// anything that starts threads.
class PrivateDaemon {
 public:
  // Runs the ftd that lies beside this program. `state_dir` is made if need be; empty means a new
  // directory below $XDG_CACHE_HOME/ftd (~/.cache/ftd), which the destructor removes unless it is
  // told to keep it. Returns when
  // it listens, or with the end of its log when it does not within ten seconds. `signals` are
  // unblocked in the child; one that arrives ends the wait.
  static absl::StatusOr<std::unique_ptr<PrivateDaemon>> Start(const std::string& state_dir,
                                                              Signals& signals);

  // Stop, then what was made is removed.
  ~PrivateDaemon();
  PrivateDaemon(const PrivateDaemon&) = delete;
  PrivateDaemon& operator=(const PrivateDaemon&) = delete;

  // "unix:PATH".
  std::string address() const { return "unix:" + socket_.string(); }
  const std::filesystem::path& state_dir() const { return state_dir_; }

  // Whether the destructor removes the state directory.
  bool removes_state() const { return remove_state_; }
  void set_removes_state(bool removes) { remove_state_ = removes; }

  // SIGTERM, and SIGKILL if it has not ended within 20 seconds. `at_once`: without waiting for a
  // checkpoint.
  void Stop(bool at_once = false);

 private:
  PrivateDaemon() = default;
  absl::Status MakeDirectories(const std::string& state_dir);
  absl::Status Spawn(const Signals& signals);
  absl::Status AwaitSocket(Signals& signals);
  bool HasEnded();
  absl::Status NotStarted(const std::string& why) const;

  std::filesystem::path state_dir_;
  std::filesystem::path socket_;
  std::filesystem::path log_;
  bool remove_state_ = false;
  std::filesystem::path socket_dir_;  // made for the socket alone, else empty
  pid_t pid_ = -1;
};

}  // namespace ftd
