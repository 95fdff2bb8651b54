#include "server/jobs/job.h"

#include <iterator>

namespace ftd {
namespace {

// In the order of the enum's values. The names are stored in the database and are those of
// ftd.v1.Job.State, so none may change.
constexpr const char* kJobStateNames[] = {"QUEUED",  "HELD",     "PREPARING",  "RUNNING",
                                          "PAUSING", "PAUSED",   "CANCELLING", "SUCCEEDED",
                                          "FAILED",  "CANCELLED"};
constexpr const char* kAttemptStateNames[] = {"ACTIVE",  "SUCCEEDED", "FAILED",
                                              "CRASHED", "STOPPED",   "ROLLED_BACK"};
static_assert(std::size(kJobStateNames) == std::size(kAllJobStates));

// Names are unique, and there are ten at most: a search is enough.
template <typename State, size_t kCount>
std::optional<State> Parse(const char* const (&names)[kCount], std::string_view name) {
  for (size_t i = 0; i < kCount; ++i) {
    if (names[i] == name) return static_cast<State>(i);
  }
  return std::nullopt;
}

}  // namespace

const char* JobStateName(JobState state) { return kJobStateNames[static_cast<size_t>(state)]; }

std::optional<JobState> ParseJobState(std::string_view name) {
  return Parse<JobState>(kJobStateNames, name);
}

const char* AttemptStateName(AttemptState state) {
  return kAttemptStateNames[static_cast<size_t>(state)];
}

std::optional<AttemptState> ParseAttemptState(std::string_view name) {
  return Parse<AttemptState>(kAttemptStateNames, name);
}

}  // namespace ftd
