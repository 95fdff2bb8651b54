// The end of an attempt: what its worker left is judged, its result published, and both stored.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "lib/base/steady_clock.h"
#include "server/attempts/worker_process.h"
#include "server/host/state_dir.h"
#include "server/jobs/job_store.h"

namespace ftd {

// What the daemon knows of a worker's end.
struct WorkerEnd {
  ExitStatus exit;
  std::string daemon_cause;    // why it could not be started; empty otherwise
  bool asked_to_stop = false;  // by the daemon
  bool hung = false;           // killed because it stood still
  absl::Duration time_limit;   // that the job has used up, so it was asked to stop; 0: it has not
  absl::Duration ran;          // how long it ran; 0: not known
};

struct Conclusion {
  enum class Kind {
    kStored,       // the attempt is over, and so stored
    kUnpublished,  // the result is complete, but cannot be published now
    kUndecided,    // something cannot be read or stored now
  };
  Kind kind = Kind::kUndecided;
  absl::Status why;  // not OK unless kStored
  Job job;           // if kStored: as it is now
  Attempt attempt;   // if kStored: how it ended
  Moment retry_at;   // if kStored and the job has a `not_before`: the same by the steady clock
};

// Concludes an attempt whose worker is gone. What is not stored may be tried again, by this daemon
// or the next one: nothing is lost, and nothing is done twice.
Conclusion ConcludeAttempt(JobStore& store, const StateDir& state_dir, const Job& job,
                           const Attempt& started, const WorkerEnd& end);

}  // namespace ftd
