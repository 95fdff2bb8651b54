// Follows a job to its end and shows it: the loop of watch, wait, submit --watch and run.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "client/base/signals.h"
#include "client/rpc/connection.h"
#include "client/rpc/job_follower.h"
#include "client/watch/watch_state.h"

namespace ftd {

// Reports on stderr that the stream broke, with the reason, or that it is there again.
void ReportLost(const std::string& why);
void ReportRegained();

// Shows a job to somebody. Never called from two threads.
class JobView {
 public:
  virtual ~JobView() = default;
  // `item` happened; `state` has it already.
  virtual void Show(const WatchState& state, const FollowItem& item) {}
  // All waiting items are shown; called some five times a second also when nothing happens.
  virtual void Tick(const WatchState& state) {}
  // Ctrl-Z: leave the terminal as it was found, stop the process, come back.
  virtual void Suspend() {}
};

// The signals that FollowJob answers; with `screen` also Ctrl-Z and changes of the window's size.
Signals FollowSignals(bool screen);

// The way in which following a job ended.
struct FollowOutcome {
  enum Kind { kFinal, kTimedOut, kSignalled, kBroken };
  Kind kind = kFinal;
  ftd::v1::Job job;     // as last seen; final when kFinal
  int signal = 0;       // when kSignalled
  absl::Status broken;  // when kBroken: why there is no going on
};

// `job` as it was looked up. Until it has ended, `timeout` has passed, a signal of `signals` came,
// or ftd cannot be reached any more.
FollowOutcome FollowJob(Connection& connection, const ftd::v1::Job& job, JobView& view,
                        Signals& signals,
                        std::optional<std::chrono::milliseconds> timeout = std::nullopt);

// Tells the outcome on stderr, what to do next included, and gives the exit code: 0 only for
// SUCCEEDED. `daemon_stays`: whether ftctl can ask about the job later.
int ReportOutcome(const FollowOutcome& outcome, bool daemon_stays = true);

}  // namespace ftd
