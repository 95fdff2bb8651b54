#include "server/attempts/attempt_supervisor.h"

#include <algorithm>
#include <csignal>

#include "lib/base/error.h"
#include "server/attempts/attempt_files.h"
#include "server/attempts/log_bound.h"

namespace ftd {
namespace {

// A worker is looked at this often for a heartbeat, or four times per `hang_limit` if that is
// shorter.
constexpr absl::Duration kHeartbeatCheck = absl::Seconds(2);
// How often the size of its log is.
constexpr absl::Duration kLogCheck = absl::Seconds(10);

const char* WithWhat(StopRequest how) {
  if (how == StopRequest::kFinish) return "with the result of its steps";
  return how == StopRequest::kSave ? "with a checkpoint" : "at once";
}

}  // namespace

AttemptSupervisor::AttemptSupervisor(Job job, Attempt attempt, std::filesystem::path dir,
                                     WorkerProcess process, AttemptFollower follower,
                                     absl::Duration hang_limit)
    : job_(std::move(job)),
      attempt_(std::move(attempt)),
      dir_(std::move(dir)),
      process_(std::move(process)),
      started_(SteadyNow() - process_.Age()),
      follower_(std::move(follower)),
      control_(dir_),
      hang_limit_(hang_limit),
      check_interval_(hang_limit_ == kNever ? kNever : std::min(kHeartbeatCheck, hang_limit_ / 4)),
      last_check_(SteadyNow()),
      next_log_check_(last_check_ + kLogCheck) {}

absl::StatusOr<std::unique_ptr<AttemptSupervisor>> AttemptSupervisor::Create(
    Job job, Attempt attempt, std::filesystem::path dir, WorkerProcess process,
    absl::Duration hang_limit) {
  FTD_ASSIGN_OR_RETURN(AttemptFollower follower, AttemptFollower::Open(dir));
  return std::unique_ptr<AttemptSupervisor>(
      new AttemptSupervisor(std::move(job), std::move(attempt), std::move(dir), std::move(process),
                            std::move(follower), hang_limit));
}

void AttemptSupervisor::AskToStop(StopRequest how, absl::Duration term_after,
                                  absl::Duration kill_after) {
  // The values of StopRequest are ordered by urgency. Deadlines only ever come closer.
  if (how <= asked_) return;
  asked_ = how;
  const Moment now = SteadyNow();
  term_at_ = std::min(term_at_, now + term_after);
  kill_at_ = std::min(kill_at_, now + kill_after);
  v1::ControlRequest request;
  request.mutable_stop()->set_save(how != StopRequest::kNow);
  request.mutable_stop()->set_finish(how == StopRequest::kFinish);
  if (const absl::Status sent = control_.Send(request); !sent.ok()) {
    // A worker that has no control socket yet takes SIGTERM as a request for a checkpoint.
    LogInfo(AboutThis(), sent.message(), "; it is sent SIGTERM");
    term_at_ = now;
  } else {
    LogInfo(AboutThis(), "the worker is told to stop, ", WithWhat(how));
  }
}

AttemptNews AttemptSupervisor::Read() {
  AttemptNews news = follower_.Read();
  if (!news.events.empty() || !news.steps.empty()) silence_ = absl::ZeroDuration();
  return news;
}

Moment AttemptSupervisor::Drive(Moment now) {
  // Each signal is sent once its time has come; SIGKILL is repeated every second while the process
  // lives.
  if (now >= term_at_) {
    process_.Signal(SIGTERM);
    term_at_ = kNever;
  }
  if (now >= kill_at_) {
    LogWarning(AboutThis(), "the worker did not stop in time and is killed");
    process_.KillGroup();
    kill_at_ = now + absl::Seconds(1);  // still asked to stop; and should it need a second blow
  }
  if (now >= last_check_ + check_interval_) CheckHeartbeat(now);
  if (now >= next_log_check_) CheckLog(now);
  return std::min({term_at_, kill_at_, last_check_ + check_interval_, next_log_check_});
}

void AttemptSupervisor::CheckLog(Moment now) {
  next_log_check_ = now + kLogCheck;
  const auto gone = BoundLog(dir_ / kWorkerLog);
  if (!gone.ok()) {
    LogWarning(AboutThis(), "its log grows without bound: ", gone.status().message());
  } else if (*gone > 0) {
    LogWarning(AboutThis(), "its log has grown too large; the oldest ", *gone, " bytes are gone");
  }
}

// Time in which the daemon itself did not run counts as no more than one interval: whatever stopped
// both, a suspend, a debugger, a freezer or a hypervisor, left the worker no time to show a sign of
// life.
void AttemptSupervisor::CheckHeartbeat(Moment now) {
  silence_ += std::min(now - last_check_, check_interval_);
  last_check_ = now;
  // Only a change of the heartbeat counts. New records in the logs count as well (see Read).
  if (const uint64_t heartbeat = follower_.Heartbeat(); heartbeat != heartbeat_) {
    heartbeat_ = heartbeat;
    silence_ = absl::ZeroDuration();
  }
  if (silence_ < hang_limit_) return;
  LogWarning(AboutThis(), "the worker gave no sign of life for ", absl::ToInt64Seconds(hang_limit_),
             " s and is killed");
  hung_ = true;
  process_.KillGroup();
}

}  // namespace ftd
