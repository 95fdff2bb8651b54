#include "server/attempts/pulse.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "server/host/log.h"
#include "server/host/service_manager.h"

namespace ftd {
namespace {

constexpr absl::Duration kStatusInterval = absl::Seconds(1);
// While ftd stops, it asks for this much more time, this often. In all it asks for no more than
// stop_grace_seconds, after which the worker is killed.
constexpr absl::Duration kExtension = absl::Seconds(15), kExtensionInterval = absl::Seconds(5);

// Between two turns of the runner's loop.
constexpr absl::Duration kLongest = absl::Minutes(1);

}  // namespace

Pulse::Pulse(JobStore& store, std::function<bool()> stopping)
    : store_(store),
      stopping_(std::move(stopping)),
      enabled_(HasServiceManager()),
      // Twice per interval of the watchdog, as sd_watchdog_enabled(3) recommends.
      interval_(enabled_ ? WatchdogInterval() / 2 : absl::ZeroDuration()) {
  SetDue(SteadyNow() + kLongest);
}

absl::Duration Pulse::Overdue() const { return SteadyNow() - absl::Nanoseconds(due_ns_.load()); }

// Keeps only what the status line shows.
void Pulse::OnNews(const AttemptNews& news) {
  for (const v1::WorkerEvent& event : news.events) {
    if (!event.has_progress()) continue;
    phase_ = absl::AsciiStrToLower(v1::Progress::Phase_Name(event.progress().phase()));
    steps_planned_ = std::max(steps_planned_, event.progress().steps_planned());
  }
  if (!news.steps.empty()) step_ = news.steps.back().step();
}

// Each Beat function returns the time at which it wants to be called again.
Moment Pulse::BeatWatchdog(Moment now) {
  if (interval_ == absl::ZeroDuration()) return kNever;
  if (now < next_alive_) return next_alive_;
  const absl::Status alive = store_.Probe();
  if (alive.ok() || ReasonOf(alive) == Reason::kDbBusy) {  // somebody else writes: it answers
    NotifyAlive();
    return next_alive_ = now + interval_;
  }
  LogError("the watchdog is not told that ftd lives, because its database does not answer: ",
           // A database that does not answer is asked again each second. If it does not recover,
           // the service manager's watchdog runs out and ftd is restarted.
           alive.message());
  return next_alive_ = now + std::min(interval_, absl::Seconds(1));
}

// Returns a line such as "running first, step 120 of 900; 2 queued".
std::string Pulse::Status(const Job* running) {
  const std::string queue = absl::StrCat(store_.CountByState().at(JobState::kQueued), " queued");
  if (running == nullptr) {
    return stopping_() ? "stopping" : absl::StrCat("idle; ", queue);
  }
  std::string what = absl::StrCat("running ", running->DisplayName());
  if (stopping_()) what = absl::StrCat("stopping after a checkpoint of ", running->DisplayName());
  if (step_ > 0) {
    absl::StrAppend(&what, ", step ", step_);
    if (steps_planned_ > 0) absl::StrAppend(&what, " of ", steps_planned_);
  } else if (!phase_.empty()) {
    absl::StrAppend(&what, ", ", phase_);
  }
  return absl::StrCat(what, "; ", queue);
}

Moment Pulse::BeatStatus(const Job* running, Moment now) {
  // Phase and step belong to one job; another starts without them.
  if (const std::string id = running == nullptr ? "" : running->id; id != job_id_) {
    job_id_ = id;
    phase_.clear();
    step_ = steps_planned_ = 0;
  }
  if (now < next_status_) return next_status_;
  std::string status = Status(running);
  if (status == status_) return kNever;
  NotifyStatus(status);
  status_ = std::move(status);
  return next_status_ = now + kStatusInterval;
}

// Extends the service manager's stop timeout in small pieces, so that a hung stop still ends.
Moment Pulse::BeatStop(Moment now) {
  if (!stopping_()) return kNever;
  if (now >= next_extension_) {
    NotifyNeedsTime(kExtension);
    next_extension_ = now + kExtensionInterval;
  }
  return next_extension_;
}

absl::Duration Pulse::Beat(const Job* running) {
  const Moment now = SteadyNow();
  SetDue(now + kLongest);
  if (!enabled_) return kLongest;
  // Stop is looked at before the status. A stop may come between the two, and in the other order
  // the status would show it only seconds later.
  const Moment next =
      std::min({BeatWatchdog(now), BeatStop(now), BeatStatus(running, now), now + kLongest});
  SetDue(next);
  return next - now;
}

// Called from within a long piece of work, where only what has a deadline matters: the status can
// wait.
void Pulse::Progress() {
  const Moment now = SteadyNow();
  SetDue(now + kLongest);
  if (!enabled_) return;
  BeatWatchdog(now);
  BeatStop(now);
}

}  // namespace ftd
