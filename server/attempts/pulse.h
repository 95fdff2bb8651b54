// The daemon's sign of life for the service manager, taken where the work is done: the runner calls
// it from its loop, and it asks the database each time. So a daemon whose runner or database hangs
// is restarted by the watchdog; the worker continues, and the next daemon adopts it.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "absl/time/time.h"
#include "lib/base/steady_clock.h"
#include "server/attempts/attempt_follower.h"
#include "server/jobs/job_store.h"

namespace ftd {

// Used by the runner's thread alone, but for Overdue.
class Pulse {
 public:
  // `store` must outlive it. `stopping`: whether the daemon is.
  Pulse(JobStore& store, std::function<bool()> stopping);

  // Takes the news of the running attempt's logs.
  void OnNews(const AttemptNews& news);
  // Takes a turn of the runner's loop, with the job whose worker runs, or null. Feeds the watchdog,
  // reports the status when it has changed, and, while the daemon stops, asks for the time that the
  // last checkpoint takes. Returns within what time it wants to be called again.
  absl::Duration Beat(const Job* running);
  // Called during a long piece of work, to show that it is progressing.
  void Progress();
  // For how long Beat or Progress should have been called again; negative: they are not due yet.
  // Thread-safe.
  absl::Duration Overdue() const;

 private:
  std::string Status(const Job* running);
  // Each returns when it is due next.
  Moment BeatWatchdog(Moment now);
  Moment BeatStatus(const Job* running, Moment now);
  Moment BeatStop(Moment now);
  void SetDue(Moment due) { due_ns_ = absl::ToInt64Nanoseconds(due); }

  JobStore& store_;
  const std::function<bool()> stopping_;
  const bool enabled_;
  const absl::Duration interval_;  // of the watchdog's notifications; zero: none
  std::atomic<int64_t> due_ns_;    // the Moment when the runner's loop is due
  Moment next_alive_;
  Moment next_status_;
  Moment next_extension_;
  std::string status_;  // as told last
  std::string job_id_;  // that the following is of
  std::string phase_;   // "load", "train"
  int64_t step_ = 0;
  int64_t steps_planned_ = 0;
};

}  // namespace ftd
