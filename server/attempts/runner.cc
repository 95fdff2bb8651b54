#include "server/attempts/runner.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/manifest.h"
#include "lib/hub/transport/settings.h"
#include "server/attempts/attempt_files.h"
#include "server/attempts/attempt_verdict.h"
#include "server/attempts/disk_room.h"
#include "server/attempts/result_publisher.h"
#include "server/attempts/time_limit.h"
#include "server/attempts/worker_finder.h"
#include "server/host/log.h"
#include "server/jobs/job_states.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

// What an attempt left could not be judged or stored: it is tried again after this.
constexpr absl::Duration kRetrySettle = absl::Seconds(1);
// An attempt that could not be prepared, or a queue that could not be read, is tried again after
// this.
constexpr absl::Duration kRetryPrepare = absl::Seconds(5);
// A result that could not be published is tried again after this.
constexpr absl::Duration kRetryPublish = absl::Seconds(2);
// Where a job waits for space on the disk, it is looked for this often.
constexpr absl::Duration kLookForSpace = absl::Seconds(2);
// So many times in a row a checkpoint that cannot be read keeps an attempt from starting, before it
// is taken for damaged: half a minute.
constexpr int kPatientPrepares = 6;
// A cancelled worker is gone within 5 s whatever it does.
constexpr absl::Duration kCancelTerm = absl::Seconds(3), kCancelKill = absl::Seconds(4);
// The worker takes as long as the result needs.
constexpr absl::Duration kNoHurry = absl::InfiniteDuration();

About AboutAttempt(const Job& job, const Attempt& attempt) {
  return {.job = job.id, .attempt = attempt.number};
}

// Closes the results that an earlier daemon was publishing, before users can ask for anything.
absl::Status CloseResults(JobStore& store, const StateDir& state_dir) {
  FTD_ASSIGN_OR_RETURN(const auto jobs, store.Active());
  for (const Job& job : jobs) {
    FTD_ASSIGN_OR_RETURN(const auto attempts, store.Attempts(job.id));
    if (attempts.empty()) continue;
    // One that cannot be looked at now is judged later; it must not keep ftd from starting.
    const auto publishing = IsPublishing(state_dir.AttemptDir(job.id, attempts.back().number));
    if (publishing.value_or(false)) FTD_RETURN_IF_ERROR(store.CloseResult(job));
  }
  return absl::OkStatus();
}

// Returns whether the news shows that optimizer steps are being taken.
bool ShowsRunning(const AttemptNews& news) {
  return !news.steps.empty() ||
         std::any_of(news.events.begin(), news.events.end(), [](const auto& event) {
           return event.has_progress() && event.progress().phase() >= v1::Progress::TRAIN;
         });
}

// The clock may have been set since the last attempt ended, while no daemon ran.
absl::Duration PlannedBackoff(JobStore& store, const Job& job) {
  const auto attempts = store.Attempts(job.id);
  if (!attempts.ok() || attempts->empty() || !attempts->back().end_time) return kLongestBackoff;
  return std::clamp(*job.not_before - *attempts->back().end_time, absl::ZeroDuration(),
                    kLongestBackoff);
}

}  // namespace

Runner::Runner(JobStore& store, const StateDir& state_dir, RunnerOptions options,
               RunnerObserver observer, Fd wake, Fd finished)
    : store_(store),
      state_dir_(state_dir),
      options_(std::move(options)),
      observer_(std::move(observer)),
      wake_(std::move(wake)),
      finished_(std::move(finished)) {}

absl::StatusOr<std::unique_ptr<Runner>> Runner::Create(JobStore& store, const StateDir& state_dir,
                                                       RunnerOptions options,
                                                       RunnerObserver observer) {
  Fd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), finished(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.valid() || !finished.valid()) return ErrnoError(errno, "eventfd");
  FTD_RETURN_IF_ERROR(CloseResults(store, state_dir));
  return std::unique_ptr<Runner>(new Runner(store, state_dir, std::move(options),
                                            std::move(observer), std::move(wake),
                                            std::move(finished)));
}

void Runner::Start() {
  thread_ = std::thread([this] { Run(); });
}

void Runner::Wake() { eventfd_write(wake_.get(), 1); }

void Runner::CheckDependents() {
  check_dependents_ = true;
  Wake();
}

void Runner::Stop() {
  stopping_ = true;
  Wake();
}

void Runner::Hasten() {
  hastening_ = true;
  Stop();
}

void Runner::Abandon() {
  abandoned_ = true;
  Wake();
}

void Runner::Join() {
  if (thread_.joinable()) thread_.join();
}

void Runner::Run() {
  // Each turn looks after the running attempt or else starts the next job, then sleeps until a
  // descriptor is readable or the earliest deadline has come. While the store may hold an active
  // job that nobody follows, no other is started: their workers would compete for the device. A
  // daemon that stops meanwhile leaves that job to the next daemon.
  while (!abandoned_) {
    if (active_ == nullptr && unsettled_) Recover();
    Moment until = std::min(PublishWaiting(), FailDependents());
    if (active_ != nullptr) {
      until = std::min(until, Tend());
    } else if (unsettled_) {
      until = std::min(until, SteadyNow() + kRetrySettle);
    } else if (!stopping_) {
      until = std::min(until, StartNext());
    }
    if (active_ == nullptr && stopping_) break;
    const absl::Duration turn = observer_.turn(active_ == nullptr ? nullptr : &active_->job());
    Wait(std::min(until, SteadyNow() + turn));
  }
  // After Abandon the worker still runs, so this is not the end that finished_fd announces.
  if (!abandoned_) eventfd_write(finished_.get(), 1);
}

void Runner::Wait(Moment until) {
  // A pidfd stays readable once the process has ended. If the end could not be stored yet, it is
  // left out, since poll would return at once, again and again.
  pollfd polled[] = {
      {.fd = wake_.get(), .events = POLLIN},
      {.fd = active_ == nullptr || exit_.has_value() ? -1 : active_->process().pidfd(),
       .events = POLLIN},
      {.fd = active_ == nullptr ? -1 : active_->logs_fd(), .events = POLLIN}};
  int timeout_ms = -1;
  // Rounded up, so that a turn does not come just before its deadline.
  if (until != kNever) {
    const int64_t left_ms = absl::ToInt64Milliseconds(until - SteadyNow()) + 1;
    timeout_ms = static_cast<int>(std::clamp<int64_t>(left_ms, 0, 60000));
  }
  // The result does not matter: each turn looks at everything.
  poll(polled, 3, timeout_ms);
  eventfd_t count;
  woken_ |= eventfd_read(wake_.get(), &count) == 0;
}

void Runner::Recover() {
  const auto jobs = store_.Active();
  if (!jobs.ok()) {
    LogError("cannot read the active jobs: ", jobs.status().message());
    return;
  }
  // Cleared first; each job below that could not be settled sets it again.
  unsettled_ = false;
  woken_ = true;
  for (const Job& job : *jobs) {
    if (!unpublished_.contains(job.id)) unsettled_ |= !RecoverJob(job);
  }
}

bool Runner::RecoverJob(const Job& job) {
  const auto attempts = store_.Attempts(job.id);
  if (!attempts.ok()) return false;
  if (attempts->empty()) return true;
  const Attempt& attempt = attempts->back();
  const fs::path dir = state_dir_.AttemptDir(job.id, attempt.number);
  auto process = FindWorker(attempt, dir);
  // Not our child, or gone before we looked: how it ended is unknown, and the verdict goes by what
  // it left.
  if (absl::IsNotFound(process.status())) return Conclude(job, attempt, {});
  if (!process.ok()) {
    LogError(AboutAttempt(job, attempt),
             "cannot tell whether its worker lives: ", process.status().message());
    return false;
  }
  LogInfo(AboutAttempt(job, attempt), "adopted the worker, pid ", process->identity().pid);
  auto supervisor =
      AttemptSupervisor::Create(job, attempt, dir, *std::move(process), options_.hang_limit);
  if (!supervisor.ok()) {
    // A living worker that cannot be followed is adopted in a later turn.
    LogError(AboutAttempt(job, attempt),
             "cannot follow the worker: ", supervisor.status().message());
    return false;
  }
  active_ = *std::move(supervisor);
  BeginTime(job, *attempts);
  worker_up_ = true;
  return true;
}

Moment Runner::StartNext() {
  const Moment now = SteadyNow();
  if (now < retry_at_) return retry_at_;
  if (store_.drained()) return kNever;  // an end of that wakes the runner
  const auto next = store_.NextQueued();
  if (!next.ok()) {
    LogError("cannot read the queue: ", next.status().message());
    return retry_at_ = now + kRetryPrepare;
  }
  if (!next->has_value()) return kNever;
  if (const auto until = MustWait(**next)) return *until;
  if (const absl::Status started = StartAttempt(**next); !started.ok()) {
    // Cancelled, held or otherwise changed in this very moment: look again at once.
    if (ReasonOf(started) == Reason::kStateConflict) return now;
    LogError(About{.job = (*next)->id}, "no attempt could be started: ", started.message());
    ++prepare_failures_;
    return retry_at_ = now + kRetryPrepare;
  }
  prepare_failures_ = 0;
  return now;
}

// A back-off lasts two minutes at most, so the first in the queue is waited for rather than
// overtaken; so is one that waits for space, since the others would take that from it.
std::optional<Moment> Runner::MustWait(const Job& job) {
  const Moment now = SteadyNow();
  int64_t at_least = 0;
  if (job.not_before.has_value()) {
    const Moment until =
        backoff_.EndOf(job.id, *job.not_before, [&] { return PlannedBackoff(store_, job); });
    if (now < until && job.space_wanted == 0) return until;
    // Somebody else may have filled the disk for a moment, and more than is free now may never be.
    if (now < until) at_least = job.space_wanted;
  }
  const auto shortage = FindShortage(state_dir_, job, at_least);
  if (!shortage.has_value()) return std::nullopt;
  if (job.space_wanted == 0) {
    LogWarning(About{.job = job.id}, shortage->message);
    store_
        .Amend(job.id, {JobState::kQueued},
               [&](Job& waiting) {
                 waiting.space_wanted = shortage->wanted;
                 waiting.message = shortage->message;
                 return absl::OkStatus();
               })
        .status()
        .IgnoreError();
  }
  return now + kLookForSpace;
}

absl::Status Runner::StartAttempt(const Job& queued) {
  // The directory, request.json and the lock are made before the store learns of the attempt. A
  // crash before StartAttempt leaves a directory that the next attempt of this number replaces. A
  // crash after it leaves an attempt without a pid and without events, which Recover concludes as
  // never started.
  FTD_ASSIGN_OR_RETURN(const auto attempts, store_.Attempts(queued.id));
  const int32_t number = attempts.empty() ? 1 : attempts.back().number + 1;
  if (TimeTaken(attempts) >= TimeLimitOf(queued)) return EndForTime(store_, state_dir_, queued);
  const auto rollbacks = static_cast<int32_t>(std::count_if(
      attempts.begin(), attempts.end(),
      [](const Attempt& attempt) { return attempt.state == AttemptState::kRolledBack; }));
  FTD_ASSIGN_OR_RETURN(
      PreparedAttempt prepared,
      PrepareAttempt(
          state_dir_, queued, number, rollbacks, options_.device,
          prepare_failures_ < kPatientPrepares ? Unreadable::kIsAnError : Unreadable::kIsPassedOver,
          observer_.progress));
  FTD_ASSIGN_OR_RETURN(const Job job, store_.StartAttempt(queued, prepared.attempt));
  unsettled_ = true;  // until it is followed or concluded
  // The token goes only to a worker that may have to download.
  const std::string token =
      job.sources_json.empty() ? "" : hub::FindToken(hub::SettingsFromEnvironment());
  auto process = WorkerProcess::Spawn(options_.worker, prepared.dir, prepared.lock, token);
  // The worker holds the lock through its inherited descriptor. Ours has to go, or the lock would
  // outlive the worker.
  prepared.lock.Reset();
  if (!process.ok()) {
    unsettled_ = !Conclude(job, prepared.attempt,
                           {.exit = {}, .daemon_cause = std::string(process.status().message())});
    return absl::OkStatus();
  }
  Attempt& attempt = prepared.attempt;
  attempt.pid = process->identity().pid;
  attempt.pid_start = process->identity().start_time;
  attempt.boot_id = process->identity().boot_id;
  LogInfo(AboutAttempt(job, attempt), "started, pid ", attempt.pid,
          attempt.resumed_from.empty() ? "" : ", from ", attempt.resumed_from);
  // Without the record adoption goes by the command line: not worth giving up the attempt.
  if (const absl::Status recorded = store_.RecordWorker(job.id, attempt); !recorded.ok()) {
    LogWarning(AboutAttempt(job, attempt),
               "the worker's pid could not be recorded: ", recorded.message());
  }
  saw_checkpoint_ = false;
  // If this fails, `unsettled_` is still set, and the next turn adopts the worker as a restarted
  // daemon would.
  FTD_ASSIGN_OR_RETURN(active_,
                       AttemptSupervisor::Create(job, attempt, prepared.dir, *std::move(process),
                                                 options_.hang_limit));
  BeginTime(job, attempts);
  unsettled_ = false;
  woken_ = true;  // it may have been cancelled meanwhile
  worker_up_ = true;
  return absl::OkStatus();
}

void Runner::ObeyRequests() {
  if (!std::exchange(woken_, false)) return;
  // The user's wish is read from the store; the daemon's own stop is in the flags. A stop of the
  // daemon comes before a cancel with `keep`: the checkpoint is enough, since the next attempt
  // makes the result from it.
  const auto job = store_.Get(active_->job().id);
  if (job.ok()) time_limit_ = TimeLimitOf(*job);
  const bool cancelling = job.ok() && job->state == JobState::kCancelling;
  const bool pausing = job.ok() && job->state == JobState::kPausing;
  if ((cancelling && !job->keep) || hastening_) {
    active_->AskToStop(StopRequest::kNow, kCancelTerm, kCancelKill);
  } else if (stopping_ || pausing) {
    active_->AskToStop(StopRequest::kSave, options_.stop_grace, options_.stop_grace);
  } else if (cancelling) {
    active_->AskToStop(StopRequest::kFinish, kNoHurry, kNoHurry);
  }
}

void Runner::Digest(const AttemptNews& news) {
  const Job& job = active_->job();
  if (ShowsRunning(news)) {
    // A conflict means that it runs already, or is being cancelled.
    store_
        .MoveJob(
            job.id, {JobState::kPreparing},
            {.to = JobState::kRunning, .message = "training", .attempt = active_->attempt().number})
        .status()
        .IgnoreError();
  }
  // Once this attempt has a checkpoint, those of earlier attempts are not needed to resume. An
  // adopted worker's log is read from its start, so this may happen twice, which does no harm.
  for (const v1::WorkerEvent& event : news.events) {
    if (!event.has_checkpoint() || std::exchange(saw_checkpoint_, true)) continue;
    RemoveOlderCheckpoints(state_dir_, job.id, active_->attempt().number);
  }
  observer_.news(job, active_->attempt(), news);
}

void Runner::BeginTime(const Job& job, const std::vector<Attempt>& attempts) {
  time_limit_ = TimeLimitOf(job);
  ran_before_ = TimeTaken(attempts);
  used_up_ = absl::ZeroDuration();
}

Moment Runner::KeepTimeLimit() {
  if (active_->asked_to_stop()) return kNever;
  const Moment end = active_->started() + (time_limit_ - ran_before_);
  if (SteadyNow() < end) return end;
  LogInfo(AboutAttempt(active_->job(), active_->attempt()),
          "the job has used up its time limit of ", absl::FormatDuration(time_limit_));
  used_up_ = time_limit_;
  active_->AskToStop(StopRequest::kSave, options_.stop_grace, options_.stop_grace);
  return kNever;
}

Moment Runner::FailDependents() {
  if (!check_dependents_.exchange(false)) return kNever;
  const absl::Status failed = store_.FailHopeless();
  if (failed.ok()) return kNever;
  LogError("cannot look for jobs that wait in vain: ", failed.message());
  check_dependents_ = true;
  return SteadyNow() + kRetrySettle;
}

Moment Runner::Tend() {
  ObeyRequests();
  // The end of the process is looked for before the logs are read: if it has ended, this is all of
  // them.
  if (!exit_.has_value()) {
    exit_ = active_->process().Reap();
    if (exit_.has_value()) KillLeftovers(active_->dir());
  }
  Digest(active_->Read());
  if (!exit_.has_value()) {
    const Moment until = KeepTimeLimit();
    return std::min(until, active_->Drive(SteadyNow()));
  }
  worker_up_ = false;
  // Kept as it is, the exit status included, until the store takes the verdict.
  const WorkerEnd end{.exit = *exit_,
                      .asked_to_stop = active_->asked_to_stop(),
                      .hung = active_->hung(),
                      .time_limit = used_up_,
                      .ran = SteadyNow() - active_->started()};
  if (!Conclude(active_->job(), active_->attempt(), end)) return SteadyNow() + kRetrySettle;
  exit_.reset();
  active_.reset();
  return SteadyNow();
}

bool Runner::Conclude(const Job& job, const Attempt& started, const WorkerEnd& end) {
  const Conclusion conclusion = ConcludeAttempt(store_, state_dir_, job, started, end);
  const Attempt& attempt = conclusion.attempt;
  switch (conclusion.kind) {
    case Conclusion::Kind::kStored:
      LogInfo(AboutAttempt(job, attempt), AttemptStateName(attempt.state), " (", attempt.reason,
              "); the job is ", JobStateName(conclusion.job.state));
      unpublished_.erase(job.id);
      trouble_.clear();
      if (const auto& not_before = conclusion.job.not_before)
        backoff_.Begin(job.id, *not_before, conclusion.retry_at);
      observer_.attempt_ended(conclusion.job, attempt);
      return true;
    case Conclusion::Kind::kUnpublished:
      if (unpublished_.insert_or_assign(job.id, Unpublished{job, started, end}).second) {
        LogError(AboutAttempt(job, attempt),
                 "its result cannot be published yet: ", conclusion.why.message());
      }
      publish_at_ = std::min(publish_at_, SteadyNow() + kRetryPublish);
      return true;
    case Conclusion::Kind::kUndecided:
      // Once per cause: it is tried again every second.
      if (conclusion.why.message() !=
          std::exchange(trouble_, std::string(conclusion.why.message()))) {
        LogError(AboutAttempt(job, attempt), "its end cannot be judged or stored yet: ", trouble_);
      }
      return false;
  }
  return false;
}

Moment Runner::PublishWaiting() {
  if (SteadyNow() < publish_at_) return publish_at_;
  publish_at_ = kNever;
  // A copy: what has been published is erased.
  const auto waiting = unpublished_;
  for (const auto& [id, unpublished] : waiting) {
    if (Conclude(unpublished.job, unpublished.attempt, unpublished.end)) continue;
    publish_at_ = std::min(publish_at_, SteadyNow() + kRetryPublish);
  }
  return publish_at_;
}

}  // namespace ftd
