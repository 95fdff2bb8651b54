#include "server/attempts/attempt_supervisor.h"

#include <algorithm>
#include <csignal>

#include "lib/base/error.h"

namespace ftd {
namespace {

// A worker is looked at this often for a heartbeat, or twice per `hang_seconds` if that is shorter.
constexpr int64_t kHeartbeatCheckMicros = 2000000;

const char* WithWhat(StopRequest how) {
  if (how == StopRequest::kFinish) return "with the result of its steps";
  return how == StopRequest::kSave ? "with a checkpoint" : "at once";
}

}  // namespace

AttemptSupervisor::AttemptSupervisor(Job job, Attempt attempt, std::filesystem::path dir,
                                     WorkerProcess process, AttemptFollower follower,
                                     int64_t hang_seconds)
    : job_(std::move(job)),
      attempt_(std::move(attempt)),
      dir_(std::move(dir)),
      process_(std::move(process)),
      follower_(std::move(follower)),
      control_(dir_),
      hang_micros_(hang_seconds * 1000 * 1000),
      last_sign_of_life_(NowMicros()),
      next_heartbeat_check_(hang_seconds > 0 ? last_sign_of_life_ +
                                                   std::min(kHeartbeatCheckMicros, hang_micros_ / 2)
                                             : kNever) {}

absl::StatusOr<std::unique_ptr<AttemptSupervisor>> AttemptSupervisor::Create(
    Job job, Attempt attempt, std::filesystem::path dir, WorkerProcess process,
    int64_t hang_seconds) {
  FTD_ASSIGN_OR_RETURN(AttemptFollower follower, AttemptFollower::Open(dir));
  return std::unique_ptr<AttemptSupervisor>(
      new AttemptSupervisor(std::move(job), std::move(attempt), std::move(dir), std::move(process),
                            std::move(follower), hang_seconds));
}

void AttemptSupervisor::AskToStop(StopRequest how, int64_t term_after_ms, int64_t kill_after_ms) {
  // The values of StopRequest are ordered by urgency. Deadlines only ever come closer.
  if (how <= asked_) return;
  asked_ = how;
  const int64_t now = NowMicros();
  term_at_ = std::min(term_at_, now + term_after_ms * 1000);
  kill_at_ = std::min(kill_at_, now + kill_after_ms * 1000);
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
  if (!news.events.empty() || !news.steps.empty()) last_sign_of_life_ = NowMicros();
  return news;
}

int64_t AttemptSupervisor::Drive(int64_t now) {
  // Each signal is sent once its time has come; SIGKILL is repeated every second while the process
  // lives.
  if (now >= term_at_) {
    process_.Signal(SIGTERM);
    term_at_ = kNever;
  }
  if (now >= kill_at_) {
    LogWarning(AboutThis(), "the worker did not stop in time and is killed");
    process_.KillGroup();
    kill_at_ = now + 1000000;  // still asked to stop; and should it need a second blow
  }
  if (now >= next_heartbeat_check_) CheckHeartbeat(now);
  return std::min({term_at_, kill_at_, next_heartbeat_check_});
}

void AttemptSupervisor::CheckHeartbeat(int64_t now) {
  next_heartbeat_check_ = now + std::min(kHeartbeatCheckMicros, hang_micros_ / 2);
  // Only a change of the heartbeat counts. New records in the logs count as well (see Read).
  if (const uint64_t heartbeat = follower_.Heartbeat(); heartbeat != heartbeat_) {
    heartbeat_ = heartbeat;
    last_sign_of_life_ = now;
  }
  if (now - last_sign_of_life_ < hang_micros_) return;
  LogWarning(AboutThis(), "the worker gave no sign of life for ", hang_micros_ / 1000000,
             " s and is killed");
  hung_ = true;
  process_.KillGroup();
}

}  // namespace ftd
