// One running attempt as the runner sees it: the worker's process, its logs, and the stop that was
// asked for.
//
// Used by the runner's thread alone. Destroying it leaves the worker alone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "server/attempts/attempt_follower.h"
#include "server/attempts/control_client.h"
#include "server/attempts/worker_process.h"
#include "server/host/log.h"
#include "server/jobs/job.h"

namespace ftd {

// The ways to ask a worker to stop, the gentlest first.
enum class StopRequest {
  kNone,
  kFinish,  // make the result of the steps taken
  kSave,    // write a checkpoint
  kNow,
};

class AttemptSupervisor {
 public:
  // `hang_seconds` 0: no limit.
  static absl::StatusOr<std::unique_ptr<AttemptSupervisor>> Create(Job job, Attempt attempt,
                                                                   std::filesystem::path dir,
                                                                   WorkerProcess process,
                                                                   int64_t hang_seconds);

  const Job& job() const { return job_; }
  const Attempt& attempt() const { return attempt_; }
  const std::filesystem::path& dir() const { return dir_; }
  WorkerProcess& process() { return process_; }
  int logs_fd() const { return follower_.fd(); }

  // Asks the worker to stop: sends Stop over the control socket at once (or SIGTERM, which asks for
  // a checkpoint, while there is no socket yet), SIGTERM after `term_after_ms`, and SIGKILL to its
  // group after `kill_after_ms`. A request that is not more urgent than an earlier one changes
  // nothing; a more urgent one can only bring the two times closer.
  void AskToStop(StopRequest how, int64_t term_after_ms, int64_t kill_after_ms);
  bool asked_to_stop() const { return asked_ != StopRequest::kNone; }

  // Returns the new records of the logs.
  AttemptNews Read();
  // Sends the signals that are due, and kills a worker that stands still. Returns when it wants to
  // be called again.
  int64_t Drive(int64_t now);
  // The worker was killed because it stood still.
  bool hung() const { return hung_; }

 private:
  static constexpr int64_t kNever = INT64_MAX;

  AttemptSupervisor(Job job, Attempt attempt, std::filesystem::path dir, WorkerProcess process,
                    AttemptFollower follower, int64_t hang_seconds);
  void CheckHeartbeat(int64_t now);
  About AboutThis() const { return {.job = job_.id, .attempt = attempt_.number}; }

  const Job job_;
  const Attempt attempt_;
  const std::filesystem::path dir_;
  WorkerProcess process_;
  AttemptFollower follower_;
  ControlClient control_;
  StopRequest asked_ = StopRequest::kNone;
  // Times in microseconds since 1970.
  int64_t term_at_ = kNever;
  int64_t kill_at_ = kNever;
  const int64_t hang_micros_;
  uint64_t heartbeat_ = 0;
  int64_t last_sign_of_life_;
  int64_t next_heartbeat_check_;
  bool hung_ = false;
};

}  // namespace ftd
