// A worker's process: started or adopted, watched through a pidfd, signalled, reaped.
//
// Used by one thread. Destroying it leaves the process alone: the worker outlives the daemon.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/base/file.h"

namespace ftd {

// The end of a process. Both empty: it was not our child and nobody can know.
struct ExitStatus {
  std::optional<int32_t> exit_code;
  std::optional<int32_t> signal;
};

// Tells a process from a later one with the same pid.
struct ProcessIdentity {
  int64_t pid = 0;
  int64_t start_time = 0;  // field 22 of /proc/PID/stat, clock ticks since boot
  std::string boot_id;
};

// Every process that a worker starts inherits it, so what a worker leaves behind is told by it.
inline constexpr char kAttemptVariable[] = "FTD_ATTEMPT_DIR";

// How long ago that process was started, by a clock that nobody sets. Requires: this boot's.
absl::Duration AgeOf(const ProcessIdentity& process);

// This machine's boot: /proc/sys/kernel/random/boot_id.
std::string BootId();

class WorkerProcess {
 public:
  // Starts `program attempt --dir DIR --lock-fd 3 --token-fd 4` in a session of its own, with
  // `lock` as descriptor 3, `hub_token` to be read from descriptor 4 (arguments and environments
  // can be seen by others), no standard input, output appended to DIR/worker.log, DIR as working
  // directory, and a minimal environment, in which kAttemptVariable names DIR.
  static absl::StatusOr<WorkerProcess> Spawn(const std::string& program,
                                             const std::filesystem::path& attempt_dir,
                                             const Fd& lock, const std::string& hub_token);
  // Takes over the living worker of `attempt_dir`: the process that `known` names if it is still
  // that one; where its pid is 0, because the daemon died before it had noted it, the one whose
  // command line names the directory and which leads its session: a child that it forked does not.
  // NOT_FOUND: neither. Any other error: that cannot be told now.
  static absl::StatusOr<WorkerProcess> Adopt(const std::filesystem::path& attempt_dir,
                                             const ProcessIdentity& known);

  // The very process that `known` names has not ended yet. An error when that cannot be told now.
  static absl::StatusOr<bool> Lives(const ProcessIdentity& known);

  const ProcessIdentity& identity() const { return identity_; }
  absl::Duration Age() const { return AgeOf(identity_); }
  // Readable once the process has ended.
  int pidfd() const { return pidfd_.get(); }

  // Signals the worker alone. It is not an error if the process has ended.
  void Signal(int signal);
  // SIGKILL to the worker and everything in its process group.
  void KillGroup();
  // Returns none while it runs. After it ended: kills what is left of its group, reaps it, and
  // returns how it ended.
  std::optional<ExitStatus> Reap();

 private:
  WorkerProcess(ProcessIdentity identity, Fd pidfd)
      : identity_(std::move(identity)), pidfd_(std::move(pidfd)) {}
  // NOT_FOUND: there is no such process.
  static absl::StatusOr<WorkerProcess> Open(int64_t pid);

  ProcessIdentity identity_;
  Fd pidfd_;
};

}  // namespace ftd
