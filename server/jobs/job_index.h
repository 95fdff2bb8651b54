// What is asked about all jobs at once, kept in memory so that an answer takes the same time
// however many there are: how many are in each state, and each one's place in the queue.
#pragma once

#include <array>
#include <cstdint>
#include <ext/pb_ds/assoc_container.hpp>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <tuple>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/jobs/job.h"

namespace ftd {

// Thread-safe.
class JobIndex {
 public:
  // The part of a job that it knows.
  struct Entry {
    JobState state = JobState::kQueued;
    std::string owner;
    bool at_head = false;
    int32_t priority = 0;
    int64_t ordinal = 0;

    static Entry Of(const Job& job) {
      return {job.state, job.owner, job.at_head, job.priority, job.ordinal};
    }
  };

  // A job that was as `before` says is as `after` says; none: there is no such job.
  void Replace(const std::optional<Entry>& before, const std::optional<Entry>& after);

  // Of all jobs, or of an owner's. Has every state.
  std::map<JobState, int64_t> CountByState(const std::optional<std::string>& owner) const;
  int64_t Count(JobState state) const;
  // Place in the queue from 1, as the queue is now: of a queued job its own, of another the one
  // that it would have.
  int64_t Position(const Entry& job) const;

 private:
  static constexpr size_t kStates = std::size(kAllJobStates);
  using Counts = std::array<int64_t, kStates>;
  // In the order in which the queue is served: not at_head, less priority, ordinal.
  using Place = std::tuple<bool, int64_t, int64_t>;
  // A tree that knows how many keys are before a key.
  using Queue =
      __gnu_pbds::tree<Place, __gnu_pbds::null_type, std::less<Place>, __gnu_pbds::rb_tree_tag,
                       __gnu_pbds::tree_order_statistics_node_update>;

  static Place PlaceOf(const Entry& job) {
    return {!job.at_head, -int64_t{job.priority}, job.ordinal};
  }
  void Count(const Entry& job, int64_t difference) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable absl::Mutex mutex_;
  Counts all_ ABSL_GUARDED_BY(mutex_) = {};
  std::map<std::string, Counts> of_owner_ ABSL_GUARDED_BY(mutex_);  // who have a job
  Queue queue_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ftd
