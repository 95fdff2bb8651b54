// The jobs in SQLite: the only place where a job's truth is kept, and the only one that writes it.
//
// Thread-safe. One connection writes, one reads, each under a lock of its own, so that a reader
// never waits for a flush to disk. Every write is one transaction and durable when the call returns
// OK. Steps are not kept here.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/jobs/job.h"
#include "server/jobs/sqlite.h"

namespace ftd {

// A change of state and what goes with it.
struct Move {
  JobState to = JobState::kQueued;
  std::string message;
  std::string failure_reason;
  std::string hint;
  std::string result_dir;  // empty: leave
  int32_t attempt = 0;
  bool at_head = false;
  std::optional<absl::Time> not_before;
  int64_t space_wanted = 0;        // Job::space_wanted
  std::optional<int32_t> crashes;  // none: leave
  std::optional<bool> keep;        // none: leave
};

// A submit's identity (AIP-155).
struct RequestKey {
  std::string request_id;
  std::string body_sha256;
};

struct JobPage {
  std::vector<Job> jobs;
  bool more = false;  // there are jobs after these
};

// A report of a job's end that has not arrived yet.
struct Notification {
  std::string job_id;
  std::string channel;  // one of SetChannels
  int32_t tries = 0;    // that have failed
  absl::Time not_before;
};

class JobStore {
 public:
  // Called after each committed change of state, with the job as it is after it, on the thread that
  // made it and without a lock held. Also after Amend, with an event that says nothing: from the
  // job's state to the same, with sequence 0.
  using Listener = std::function<void(const Job&, const StateEvent&)>;

  // Opens or creates `path` and migrates it.
  static absl::StatusOr<std::unique_ptr<JobStore>> Open(const std::string& path);

  // Set once, before any other thread uses the store.
  void SetListener(Listener listener) { listener_ = std::move(listener); }

  // From now on each job's end leaves a notification for each of `channels`, in the transaction
  // that ends it. Those of other channels are removed. Set once, like the listener.
  absl::Status SetChannels(std::vector<std::string> channels);

  // Called with the time that each commit took, with the write lock held. Set once, like the
  // listener.
  void SetCommitListener(std::function<void(absl::Duration)> listener) {
    absl::MutexLock lock(&write_mutex_);
    writer_.SetCommitListener(std::move(listener));
  }

  // Stores a queued job, its first event and the request's key. Fills in ordinal and create_time.
  // ALREADY_EXISTS NAME_IN_USE, REQUEST_ID_REUSED; RESOURCE_EXHAUSTED QUEUE_FULL with `max_queued`
  // jobs queued, QUOTA_EXCEEDED with `max_of_owner` of the job's owner that have not begun.
  absl::StatusOr<Job> Insert(Job job, const std::optional<RequestKey>& request, int64_t max_queued,
                             int64_t max_of_owner = std::numeric_limits<int64_t>::max());
  // The job that the same request made before; none when the id is new. ALREADY_EXISTS
  // REQUEST_ID_REUSED.
  absl::StatusOr<std::optional<Job>> FindRequest(const RequestKey& request);

  // Forgets a job that has ended, with its events, attempts and requests. STATE_CONFLICT.
  absl::Status Delete(const std::string& job_id);

  // By id or name. NOT_FOUND JOB_NOT_FOUND.
  absl::StatusOr<Job> Get(const std::string& id_or_name);
  // Newest first, ordinals below `before`; `states` empty: all; with an owner those of it alone.
  absl::StatusOr<std::vector<Job>> List(int64_t before, const std::vector<JobState>& states,
                                        int64_t limit,
                                        const std::optional<std::string>& owner = std::nullopt);
  // The same, in pages: at most `limit` jobs, and none after the one with which their specs exceed
  // `most_bytes`. Requires: `limit` > 0.
  absl::StatusOr<JobPage> Page(int64_t before, const std::vector<JobState>& states, int64_t limit,
                               int64_t most_bytes,
                               const std::optional<std::string>& owner = std::nullopt);
  // How many changes of jobs this process has committed: what was read after one look at it is up
  // to date while it stays the same.
  int64_t changes() const { return changes_; }
  // The queue in the order in which it is served, at most `limit` jobs.
  absl::StatusOr<std::vector<Job>> Queued(int64_t limit);
  // The job that is to run next, whether or not its back-off is over.
  absl::StatusOr<std::optional<Job>> NextQueued();
  // Jobs that have an attempt.
  absl::StatusOr<std::vector<Job>> Active();
  // Place in the queue, from 1. Requires: the job is QUEUED.
  absl::StatusOr<int64_t> Position(const Job& job);
  // Of all jobs, or of an owner's.
  absl::StatusOr<std::map<JobState, int64_t>> CountByState(
      const std::optional<std::string>& owner = std::nullopt);
  // Begins a transaction and gives it up: OK when a write would get as far as the disk now.
  absl::Status Probe();
  // create_time of the oldest queued job.
  absl::StatusOr<std::optional<absl::Time>> OldestQueued();
  absl::StatusOr<std::vector<Attempt>> Attempts(const std::string& job_id);
  // Events with a greater sequence, in order, at most `limit`.
  absl::StatusOr<std::vector<StateEvent>> Events(const std::string& job_id, int64_t after,
                                                 int64_t limit);

  // The notification that is due first.
  absl::StatusOr<std::optional<Notification>> NextNotification();
  // Counts a try that has failed.
  absl::Status Postpone(const Notification& notification, absl::Time not_before);
  // It has arrived, or is given up. A job's deletion forgets its notifications too.
  absl::Status Forget(const Notification& notification);

  // Moves a job that is in one of `from`. FAILED_PRECONDITION STATE_CONFLICT when it is in another
  // state, or when job_states.h forbids the move.
  absl::StatusOr<Job> MoveJob(const std::string& job_id, std::initializer_list<JobState> from,
                              const Move& move);
  // Changes a job that is in one of `from`, other than its state: `change` may set message,
  // priority, labels, at_head, keep and space_wanted; when it fails nothing is changed.
  // FAILED_PRECONDITION STATE_CONFLICT.
  absl::StatusOr<Job> Amend(const std::string& job_id, std::initializer_list<JobState> from,
                            const std::function<absl::Status(Job&)>& change);
  // QUEUED to PREPARING together with the new attempt's row. STATE_CONFLICT also when the attempt
  // was prepared for a `queued` that has another `keep` by now.
  absl::StatusOr<Job> StartAttempt(const Job& queued, const Attempt& attempt);
  // Records the worker's identity, by which it is adopted.
  absl::Status RecordWorker(const std::string& job_id, const Attempt& attempt);
  // Ends the active attempt and moves the job in one transaction. STATE_CONFLICT when the job has
  // another state or `keep` than it had when the move was decided on, which `judged` has: decide
  // again.
  absl::StatusOr<Job> EndAttempt(const Job& judged, const Attempt& attempt, const Move& move);

  // From now on the job's result is being published: until EndAttempt, or until ReopenResult, no
  // user's request changes its state, because what is published has succeeded. STATE_CONFLICT as
  // for EndAttempt. Not stored: what says so after a restart is a file (result_publisher.h).
  absl::Status CloseResult(const Job& judged);
  void ReopenResult(const std::string& job_id);
  // The result of this job is being published.
  bool IsResultClosed(const std::string& job_id);

 private:
  JobStore(Database writer, Database reader)
      : writer_(std::move(writer)), reader_(std::move(reader)) {}

  absl::StatusOr<std::pair<Job, StateEvent>> ApplyMove(const std::string& job_id,
                                                       std::initializer_list<JobState> from,
                                                       const Move& move)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mutex_);
  absl::StatusOr<Job> Announce(std::pair<Job, StateEvent> change);

  absl::Mutex write_mutex_;
  Database writer_ ABSL_GUARDED_BY(write_mutex_);
  absl::Mutex read_mutex_;
  Database reader_ ABSL_GUARDED_BY(read_mutex_);
  Listener listener_;
  std::vector<std::string> channels_ ABSL_GUARDED_BY(write_mutex_);
  // Jobs whose result is being published.
  absl::flat_hash_set<std::string> closed_ ABSL_GUARDED_BY(write_mutex_);
  std::atomic<int64_t> changes_{0};
};

}  // namespace ftd
