#include "server/jobs/job_index.h"

#include <algorithm>

namespace ftd {

void JobIndex::Count(const Entry& job, int64_t difference) {
  const auto state = static_cast<size_t>(job.state);
  all_[state] += difference;
  Counts& own = of_owner_[job.owner];
  own[state] += difference;
  // Owners come and go: one without jobs leaves nothing.
  if (own == Counts{}) of_owner_.erase(job.owner);
}

void JobIndex::Replace(const std::optional<Entry>& before, const std::optional<Entry>& after) {
  absl::MutexLock lock(&mutex_);
  if (before.has_value()) {
    Count(*before, -1);
    if (before->state == JobState::kQueued) queue_.erase(PlaceOf(*before));
  }
  if (after.has_value()) {
    Count(*after, 1);
    if (after->state == JobState::kQueued) queue_.insert(PlaceOf(*after));
  }
}

std::map<JobState, int64_t> JobIndex::CountByState(const std::optional<std::string>& owner) const {
  absl::MutexLock lock(&mutex_);
  Counts counts = all_;
  if (owner.has_value()) {
    const auto found = of_owner_.find(*owner);
    counts = found == of_owner_.end() ? Counts{} : found->second;
  }
  std::map<JobState, int64_t> by_state;
  for (const JobState state : kAllJobStates) by_state[state] = counts[static_cast<size_t>(state)];
  return by_state;
}

int64_t JobIndex::Count(JobState state) const {
  absl::MutexLock lock(&mutex_);
  return all_[static_cast<size_t>(state)];
}

int64_t JobIndex::Position(const Entry& job) const {
  absl::MutexLock lock(&mutex_);
  return static_cast<int64_t>(queue_.order_of_key(PlaceOf(job))) + 1;
}

}  // namespace ftd
