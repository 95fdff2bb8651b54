// The jobs in SQLite: the only place where a job's truth is kept, and the only one that writes it.
//
// Thread-safe. Every write is durable when the call returns OK; those that come at the same time
// share a transaction and its flush. Steps are not kept here.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/jobs/group_commit.h"
#include "server/jobs/job_queries.h"
#include "server/jobs/upkeep.h"

namespace ftd {

class JobStore : public JobQueries {
 public:
  // Called after each committed change of state, in their order, with the job as it is after it, on
  // the writer's thread and without a lock held: it must not write. Also after Amend, with an event
  // that says nothing: from the job's state to the same, with sequence 0.
  using Listener = std::function<void(const Job&, const StateEvent&)>;

  // Opens or creates `path` and migrates it.
  static absl::StatusOr<std::unique_ptr<JobStore>> Open(const std::string& path);

  // Set once, before any other thread uses the store.
  void SetListener(Listener listener) { listener_ = std::move(listener); }
  // From now on each job's end leaves a notification for each of `channels`, in the transaction
  // that ends it. Those of other channels are removed. Set once, like the listener.
  absl::Status SetChannels(std::vector<std::string> channels);
  // Called with the time that each commit took, by one thread at a time. Set once, like the
  // listener.
  void SetCommitListener(std::function<void(absl::Duration)> listener) {
    writer_.SetCommitListener(std::move(listener));
  }

  // Stores a queued job, its first event and the request's key. Fills in ordinal and create_time.
  // ALREADY_EXISTS NAME_IN_USE, REQUEST_ID_REUSED; RESOURCE_EXHAUSTED QUEUE_FULL with `max_queued`
  // jobs queued, QUOTA_EXCEEDED with `max_of_owner` of the job's owner that have not begun;
  // NOT_FOUND JOB_NOT_FOUND, FAILED_PRECONDITION STATE_CONFLICT as CheckNeeded says.
  absl::StatusOr<Job> Insert(Job job, std::optional<RequestKey> request, int64_t max_queued,
                             int64_t max_of_owner = std::numeric_limits<int64_t>::max());
  // The same without waiting: `done` gets the job on the writer's thread, which it must not keep.
  using Done = std::function<void(absl::StatusOr<Job>)>;
  void Insert(Job job, std::optional<RequestKey> request, int64_t max_queued, int64_t max_of_owner,
              Done done);
  // Forgets a job that has ended, with its events, attempts and requests. STATE_CONFLICT.
  absl::Status Delete(const std::string& job_id);

  // How many changes of jobs this process has committed: what was read after one look at it is up
  // to date while it stays the same.
  int64_t changes() const { return changes_; }
  // Begins a transaction and ends it: OK when a write would get as far as the disk now.
  absl::Status Probe();

  // Counts a try that has failed.
  absl::Status Postpone(const Notification& notification, absl::Time not_before);
  // It has arrived, or is given up. A job's deletion forgets its notifications too.
  absl::Status Forget(const Notification& notification);

  // Moves a job that is in one of `from`. FAILED_PRECONDITION STATE_CONFLICT when it is in another
  // state, or when job_states.h forbids the move.
  absl::StatusOr<Job> MoveJob(const std::string& job_id, std::initializer_list<JobState> from,
                              const Move& move);
  // Changes a job that is in one of `from`, other than its state: `change` may set message,
  // priority, labels, at_head, keep, space_wanted and time_limit_seconds; when it fails nothing is
  // changed. It may be called twice. FAILED_PRECONDITION STATE_CONFLICT.
  absl::StatusOr<Job> Amend(const std::string& job_id, std::initializer_list<JobState> from,
                            const std::function<absl::Status(Job&)>& change);
  // QUEUED to PREPARING together with the new attempt's row. STATE_CONFLICT also when the attempt
  // was prepared for a `queued` that has another `keep` by now.
  absl::StatusOr<Job> StartAttempt(const Job& queued, const Attempt& attempt);
  // Moves queued jobs to FAILED that come after one that failed, was cancelled, or was removed
  // without having succeeded. Jobs that come after those are left to the next call.
  absl::Status FailHopeless();
  // Records the worker's identity, by which it is adopted.
  absl::Status RecordWorker(const std::string& job_id, const Attempt& attempt);
  // Ends the active attempt and moves the job in one transaction. STATE_CONFLICT when the job has
  // another state or `keep` than it had when the move was decided on, which `judged` has: decide
  // again.
  absl::StatusOr<Job> EndAttempt(const Job& judged, const Attempt& attempt, const Move& move);

  // The next are in job_store_upkeep.cc.
  //
  // Stores that files of a job that has ended are removed, or for a result that they are about to
  // be. False: the job is gone.
  absl::StatusOr<bool> RecordRemoval(const std::string& job_id, const Removal& removal);
  // The files are still there after all.
  absl::Status ForgetRemoval(const std::string& job_id, RemovalKind kind);
  // From now on no attempt is started, also by the next daemon; none: attempts are started again.
  absl::Status SetDrain(const std::optional<QueueDrain>& drain);
  bool drained() const { return drained_; }
  // Says where the files of the jobs are. If that is another place than before (a backup was
  // restored, the directory was moved), paths are changed, and no worker is taken for ours by its
  // pid.
  absl::Status SetPlace(const std::string& state_dir);

  // From now on the job's result is being published: until EndAttempt, or until ReopenResult, no
  // user's request changes its state, because what is published has succeeded. STATE_CONFLICT as
  // for EndAttempt. Not stored: what says so after a restart is a file (result_publisher.h).
  absl::Status CloseResult(const Job& judged);
  void ReopenResult(const std::string& job_id);
  // The result of this job is being published.
  bool IsResultClosed(const std::string& job_id);

 private:
  // A change of a job. An event without a sequence is one that says nothing.
  struct Changed {
    std::optional<JobIndex::Entry> before;  // none: it is new
    Job job;                                // as it is now
    StateEvent event;
  };

  JobStore(Database writer, Database reader)
      : JobQueries(std::move(reader)), writer_(std::move(writer)) {}

  // Runs a change of a job, keeps the index true and tells the listener, before `done` hears of it.
  void Change(std::function<absl::StatusOr<Changed>(Database&)> change, Done done);
  // What a call gives to its `done`.
  static absl::StatusOr<Job> Wait(absl::FunctionRef<void(Done)> start);
  // The same, once it is done.
  absl::StatusOr<Job> Change(absl::FunctionRef<absl::StatusOr<Changed>(Database&)> change);
  // Runs a change of no job.
  absl::Status Write(absl::FunctionRef<absl::Status(Database&)> change);
  // All of these are for a change that is running.
  absl::StatusOr<Changed> ApplyInsert(Database& database, const Job& job,
                                      const std::optional<RequestKey>& request, int64_t max_queued,
                                      int64_t max_of_owner) const;
  absl::StatusOr<Changed> ApplyMove(Database& database, const std::string& job_id,
                                    std::initializer_list<JobState> from, const Move& move);
  absl::Status CheckRoom(Database& database, const Job& job, int64_t max_queued,
                         int64_t max_of_owner) const;
  // The jobs that have to succeed first are there, and may still. Sets `blocked`.
  static absl::Status CheckNeeded(Database& database, Job& job);

  GroupCommit writer_;
  Listener listener_;
  std::vector<std::string> channels_;  // set once
  absl::Mutex closed_mutex_;
  // Jobs whose result is being published.
  absl::flat_hash_set<std::string> closed_ ABSL_GUARDED_BY(closed_mutex_);
  std::atomic<int64_t> changes_{0};
  std::atomic<bool> drained_{false};
};

}  // namespace ftd
