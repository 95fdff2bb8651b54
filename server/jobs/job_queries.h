// What can be asked of the jobs in SQLite.
//
// Thread-safe. Reads have a connection of their own, under a lock of its own, so that none ever
// waits for a flush to disk.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/jobs/job.h"
#include "server/jobs/job_changes.h"
#include "server/jobs/job_index.h"
#include "server/jobs/sqlite.h"
#include "server/jobs/upkeep.h"

namespace ftd {

class JobQueries {
 public:
  // The job that the same request made before; none when the id is new. ALREADY_EXISTS
  // REQUEST_ID_REUSED.
  absl::StatusOr<std::optional<Job>> FindRequest(const RequestKey& request);

  // By id or name. NOT_FOUND JOB_NOT_FOUND.
  absl::StatusOr<Job> Get(const std::string& id_or_name);
  // Newest first, ordinals below `before`; `states` empty: all; with an owner those of it alone.
  absl::StatusOr<std::vector<Job>> List(int64_t before, const std::vector<JobState>& states,
                                        int64_t limit,
                                        const std::optional<std::string>& owner = std::nullopt);
  // The same, in pages: at most `limit` jobs, and none after the one with which their specs exceed
  // `most_bytes`. Requires: `limit` > 0.
  absl::StatusOr<JobPage> Page(int64_t before, const JobFilter& filter, int64_t limit,
                               int64_t most_bytes);
  // Calls `take` with each of them, newest first, until it fails; a page at a time, so that jobs
  // that come or go meanwhile shift nothing.
  absl::Status ForEach(const std::vector<JobState>& states, const std::optional<std::string>& owner,
                       absl::FunctionRef<absl::Status(Job)> take);
  // The queue in the order in which it is served, at most `limit` jobs.
  absl::StatusOr<std::vector<Job>> Queued(int64_t limit);
  // The job that is to run next, whether or not its back-off is over. One that waits for others is
  // passed over.
  absl::StatusOr<std::optional<Job>> NextQueued();
  // Jobs that have an attempt.
  absl::StatusOr<std::vector<Job>> Active();
  // How many there are, and whether there are any.
  int64_t CountActive() const;
  bool AnyActive() const { return CountActive() > 0; }
  // Place in the queue, from 1. Requires: the job is QUEUED.
  int64_t Position(const Job& job) const { return index_.Position(JobIndex::Entry::Of(job)); }
  // Of all jobs, or of an owner's.
  std::map<JobState, int64_t> CountByState(
      const std::optional<std::string>& owner = std::nullopt) const {
    return index_.CountByState(owner);
  }
  // A job of the same owner that has not ended and comes after this one; none: there is none.
  absl::StatusOr<std::optional<std::string>> WhoNeeds(const Job& job);
  // How many there are of those. With labels each job is looked at, else none.
  absl::StatusOr<int64_t> Count(const JobFilter& filter);
  // create_time of the queued job that was submitted first.
  absl::StatusOr<std::optional<absl::Time>> OldestQueued();
  absl::StatusOr<std::vector<Attempt>> Attempts(const std::string& job_id);
  // Events with a greater sequence, in order, at most `limit`.
  absl::StatusOr<std::vector<StateEvent>> Events(const std::string& job_id, int64_t after,
                                                 int64_t limit);
  // What was removed of a job's files: one of a kind.
  absl::StatusOr<std::vector<Removal>> Removals(const std::string& job_id);
  absl::StatusOr<std::optional<QueueDrain>> GetDrain();
  // The notification that is due first.
  absl::StatusOr<std::optional<Notification>> NextNotification();

 protected:
  explicit JobQueries(Database reader) : reader_(std::move(reader)) {}
  // Fills the index with what is stored.
  absl::Status LoadIndex();
  // A queued job that comes after one that did not succeed: that one's name, and its state; empty:
  // it was removed.
  struct Hopeless {
    std::string id, needed, state;
  };
  absl::StatusOr<std::vector<Hopeless>> FindHopeless();

  JobIndex index_;

 private:
  // Ordinals, newest first, at most `limit`.
  absl::StatusOr<std::vector<int64_t>> Ordinals(int64_t before, const JobFilter& filter,
                                                int64_t limit)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(read_mutex_);

  absl::Mutex read_mutex_;
  Database reader_ ABSL_GUARDED_BY(read_mutex_);
};

}  // namespace ftd
