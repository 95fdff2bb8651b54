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
#include "lib/base/steady_clock.h"
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
  // Kills a worker that stands still for `hang_limit`; infinite: never.
  static absl::StatusOr<std::unique_ptr<AttemptSupervisor>> Create(Job job, Attempt attempt,
                                                                   std::filesystem::path dir,
                                                                   WorkerProcess process,
                                                                   absl::Duration hang_limit);

  const Job& job() const { return job_; }
  const Attempt& attempt() const { return attempt_; }
  const std::filesystem::path& dir() const { return dir_; }
  WorkerProcess& process() { return process_; }
  // When its worker was started.
  Moment started() const { return started_; }
  int logs_fd() const { return follower_.fd(); }

  // Asks the worker to stop: sends Stop over the control socket at once (or SIGTERM, which asks for
  // a checkpoint, while there is no socket yet), SIGTERM after `term_after`, and SIGKILL to its
  // group after `kill_after`. A request that is not more urgent than an earlier one changes
  // nothing; a more urgent one can only bring the two times closer.
  void AskToStop(StopRequest how, absl::Duration term_after, absl::Duration kill_after);
  bool asked_to_stop() const { return asked_ != StopRequest::kNone; }

  // Returns the new records of the logs.
  AttemptNews Read();
  // Sends the signals that are due, and kills a worker that stands still. Returns when it wants to
  // be called again.
  Moment Drive(Moment now);
  // The worker was killed because it stood still.
  bool hung() const { return hung_; }

 private:
  AttemptSupervisor(Job job, Attempt attempt, std::filesystem::path dir, WorkerProcess process,
                    AttemptFollower follower, absl::Duration hang_limit);
  void CheckHeartbeat(Moment now);
  void CheckLog(Moment now);
  About AboutThis() const { return {.job = job_.id, .attempt = attempt_.number}; }

  const Job job_;
  const Attempt attempt_;
  const std::filesystem::path dir_;
  WorkerProcess process_;
  const Moment started_;
  AttemptFollower follower_;
  ControlClient control_;
  StopRequest asked_ = StopRequest::kNone;
  Moment term_at_ = kNever;
  Moment kill_at_ = kNever;
  const absl::Duration hang_limit_;
  const absl::Duration check_interval_;  // of the heartbeat
  uint64_t heartbeat_ = 0;
  Moment last_check_;
  Moment next_log_check_;
  absl::Duration silence_;  // that was watched since the last sign of life
  bool hung_ = false;
};

}  // namespace ftd
