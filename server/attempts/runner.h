// The runner: takes jobs from the queue one at a time, starts and follows their workers, judges how
// they ended.
//
// One thread does all of it; the public calls may come from any thread. The truth is in the store
// and in the attempts' directories, so that a runner which starts finds whatever an earlier one
// left, a living worker included: adoption is the only way in which a restart is handled.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/base/file.h"
#include "lib/base/steady_clock.h"
#include "server/attempts/attempt_end.h"
#include "server/attempts/attempt_start.h"
#include "server/attempts/attempt_supervisor.h"
#include "server/attempts/device.h"
#include "server/host/state_dir.h"
#include "server/host/stored_wait.h"
#include "server/jobs/job_store.h"

namespace ftd {

struct RunnerOptions {
  std::string worker;  // program
  Device device;       // that workers use
  absl::Duration stop_grace = absl::Minutes(1);
  absl::Duration hang_limit = absl::InfiniteDuration();
};

// All are called on the runner's thread.
struct RunnerObserver {
  // An attempt's directory changed; what is new in its logs.
  std::function<void(const Job&, const Attempt&, const AttemptNews&)> news;
  // An attempt is over, and so stored.
  std::function<void(const Job&, const Attempt&)> attempt_ended;
  // A turn of the runner's loop, with the job whose worker runs, or null. Returns within what
  // time it wants to be called again.
  std::function<absl::Duration(const Job* running)> turn;
  // Called during a long piece of work, to show that it is progressing.
  std::function<void()> progress;
};

class Runner {
 public:
  // `store` and `state_dir` must outlive the runner.
  static absl::StatusOr<std::unique_ptr<Runner>> Create(JobStore& store, const StateDir& state_dir,
                                                        RunnerOptions options,
                                                        RunnerObserver observer);
  // Requires: joined, or never started.
  ~Runner() = default;

  void Start();
  // Something in the store changed: a job was submitted, paused, cancelled, released.
  void Wake();
  // A job may have ended that others come after, or one may wait for what will not come.
  void CheckDependents();
  // Starts no more jobs and asks the worker to checkpoint and end; its job goes back to the head of
  // the queue.
  void Stop();
  // Stop, but without waiting for a checkpoint.
  void Hasten();
  // Ends the runner at once and leaves the worker running, for the next daemon to adopt.
  void Abandon();
  // Returns once the thread has ended.
  void Join();
  // Readable once it has ended by itself, after Stop.
  int finished_fd() const { return finished_.get(); }
  // A worker runs at this moment. Any thread.
  bool worker_up() const { return worker_up_; }

 private:
  Runner(JobStore& store, const StateDir& state_dir, RunnerOptions options, RunnerObserver observer,
         Fd wake, Fd finished);

  void Run();
  void Wait(Moment until);
  // Adopts the living worker of an active job, or judges what a dead one left.
  void Recover();
  // The same for one job. False: it is to be looked at again.
  bool RecoverJob(const Job& job);
  // Starts the next job; returns when to try again if none can start now.
  Moment StartNext();
  // Returns when to look again at a queued job that has to wait: it crashed a moment ago, or the
  // disk has no room for it. None: it may start.
  std::optional<Moment> MustWait(const Job& job);
  absl::Status StartAttempt(const Job& job);
  // Looks after the running attempt; returns when it wants to be called again.
  Moment Tend();
  // Publishes what could not be published before; returns when it is to be tried again.
  Moment PublishWaiting();
  void ObeyRequests();
  // From now on the active attempt's time counts.
  void BeginTime(const Job& job, const std::vector<Attempt>& attempts);
  // Asks the worker to stop once the job has used up its time; returns when to look again.
  Moment KeepTimeLimit();
  // Fails jobs that come after one that did not succeed; returns when to try again.
  Moment FailDependents();
  void Digest(const AttemptNews& news);
  // Judges an attempt whose worker is gone, publishes, and stores the outcome; false when that is
  // to be done again. A result that cannot be published waits, and holds up nobody.
  bool Conclude(const Job& job, const Attempt& attempt, const WorkerEnd& end);

  JobStore& store_;
  const StateDir& state_dir_;
  const RunnerOptions options_;
  const RunnerObserver observer_;
  const Fd wake_;
  const Fd finished_;
  std::thread thread_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> hastening_{false};
  std::atomic<bool> abandoned_{false};
  std::atomic<bool> worker_up_{false};
  std::atomic<bool> check_dependents_{true};
  std::unique_ptr<AttemptSupervisor> active_;
  std::optional<ExitStatus> exit_;  // of the active attempt's worker, once it has ended
  bool unsettled_ = true;           // the store may hold active jobs that nobody looks after
  bool woken_ = true;               // requests may have come in
  bool saw_checkpoint_ = false;     // of the active attempt
  // Of the active attempt's job: what it may take in all, what earlier attempts took.
  absl::Duration time_limit_ = absl::InfiniteDuration(), ran_before_;
  // The one at which the active attempt was asked to stop; 0: it was not.
  absl::Duration used_up_;
  Moment retry_at_;           // an attempt could not be prepared: not before this
  int prepare_failures_ = 0;  // in a row
  std::string trouble_;       // that kept an attempt from being judged, as last logged
  StoredWait backoff_;        // of the job that is next in the queue
  // Attempts whose result is complete but could not be published, by job; and when to try again.
  struct Unpublished {
    Job job;
    Attempt attempt;
    WorkerEnd end;
  };
  std::map<std::string, Unpublished> unpublished_;
  Moment publish_at_ = kNever;
};

}  // namespace ftd
