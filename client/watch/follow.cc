#include "client/watch/follow.h"

#include <poll.h>

#include <algorithm>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "client/base/exit_codes.h"
#include "client/text/names.h"
#include "client/text/text.h"

namespace ftd {
namespace {

using ftd::v1::Job;
using std::chrono::duration_cast;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr auto kTick = milliseconds(200);

void ApplyItem(const FollowItem& item, WatchState* state) {
  if (item.kind == FollowItem::kEvent) state->Apply(item.event);
  if (item.kind == FollowItem::kLost) state->SetLost(std::string(item.status.message()));
  if (item.kind == FollowItem::kRegained) state->SetLost("");
}

// Shows the items that wait. Returns the last one's end, if it is among them.
std::optional<FollowOutcome> ShowItems(JobFollower& follower, JobView& view, WatchState* state) {
  std::optional<FollowOutcome> end;
  for (const FollowItem& item : follower.Take()) {
    ApplyItem(item, state);
    view.Show(*state, item);
    if (item.kind != FollowItem::kEnd) continue;
    end = {item.status.ok() ? FollowOutcome::kFinal : FollowOutcome::kBroken, {}, 0, item.status};
  }
  view.Tick(*state);
  return end;
}

// On stderr, since stdout may be a log of lines. Says what to do next.
int ReportFinal(const Job& job, bool daemon_stays) {
  const std::string next = NextStep(job);
  switch (job.state()) {
    case Job::SUCCEEDED:
      std::cerr << JobTitle(job) << " succeeded. "
                << (IsResultPruned(job) ? "Its result was pruned; train it again: "
                                        : "Take the result home: ")
                << next << std::endl;
      break;
    case Job::FAILED:
      std::cerr << JobTitle(job) << " failed: " << FailureName(job.failure_reason()) << ": "
                << PrintableLines(job.message()) << "\n";
      if (!job.hint().empty()) std::cerr << "What to do: " << PrintableLines(job.hint()) << "\n";
      if (daemon_stays) std::cerr << "The worker's own output: " << next << "\n";
      std::cerr << std::flush;
      break;
    default:
      std::cerr << JobTitle(job) << " was cancelled." << std::endl;
  }
  return OutcomeExitCode(job.state());
}

}  // namespace

Signals FollowSignals(bool screen) {
  // A live screen also has to handle suspension and resizing.
  if (screen) return Signals({SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH});
  return Signals({SIGINT, SIGTERM, SIGHUP, SIGQUIT});
}

void ReportLost(const std::string& why) {
  std::cerr << "lost contact to ftd, trying again: " << PrintableLines(why) << std::endl;
}

void ReportRegained() { std::cerr << "in contact again" << std::endl; }

FollowOutcome FollowJob(Connection& connection, const Job& job, JobView& view, Signals& signals,
                        std::optional<milliseconds> timeout) {
  const auto deadline = steady_clock::now() + timeout.value_or(milliseconds(0));
  JobFollower follower(connection, job.id());
  WatchState state;
  // Before the snapshot has come, the job as the caller knew it.
  const auto last = [&] { return state.job().id().empty() ? job : state.job(); };
  while (true) {
    if (auto end = ShowItems(follower, view, &state)) {
      end->job = last();
      return *end;
    }
    auto wait = kTick;
    if (timeout) {
      const auto left = duration_cast<milliseconds>(deadline - steady_clock::now());
      if (left <= milliseconds(0)) return {FollowOutcome::kTimedOut, last(), 0, {}};
      wait = std::min(wait, left);
    }
    pollfd inputs[] = {{follower.fd(), POLLIN, 0}, {signals.fd(), POLLIN, 0}};
    poll(inputs, std::size(inputs), static_cast<int>(wait.count()));
    // Signals are looked at after the items, so a job that has just ended is reported as such.
    const int signal = signals.Take();
    if (signal == SIGTSTP) view.Suspend();
    if (signal == 0 || signal == SIGTSTP || signal == SIGWINCH) continue;
    return {FollowOutcome::kSignalled, last(), signal, {}};
  }
}

// The exit code is the job's outcome, so that a script may follow a job and act on its end.
int ReportOutcome(const FollowOutcome& outcome, bool daemon_stays) {
  const std::string handle = JobHandle(outcome.job);
  switch (outcome.kind) {
    case FollowOutcome::kFinal:
      return ReportFinal(outcome.job, daemon_stays);
    case FollowOutcome::kTimedOut:
      std::cerr << JobTitle(outcome.job) << " has not finished; it is "
                << StateName(outcome.job.state()) << "." << std::endl;
      return kExitJobNotFinished;
    case FollowOutcome::kSignalled:
      std::cerr << "The job continues without you. Watch again: ftctl watch " << handle
                << "\nTo end it: ftctl cancel " << handle << std::endl;
      return 128 + outcome.signal;
    case FollowOutcome::kBroken:
      break;
  }
  return Fail(outcome.broken);
}

}  // namespace ftd
