// The daemon's own view of a job. The wire's view is ftd.v1.Job; wire.h maps one to the other.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"

namespace ftd {

// The life of a job; job_states.h says which moves are legal.
enum class JobState {
  kQueued,
  kHeld,
  kPreparing,
  kRunning,
  kPausing,
  kPaused,
  kCancelling,
  kSucceeded,
  kFailed,
  kCancelled,
};
inline constexpr JobState kAllJobStates[] = {
    JobState::kQueued,  JobState::kHeld,     JobState::kPreparing,  JobState::kRunning,
    JobState::kPausing, JobState::kPaused,   JobState::kCancelling, JobState::kSucceeded,
    JobState::kFailed,  JobState::kCancelled};

// "QUEUED": the name in the API and in the database.
const char* JobStateName(JobState state);
std::optional<JobState> ParseJobState(std::string_view name);

enum class AttemptState { kActive, kSucceeded, kFailed, kCrashed, kStopped, kRolledBack };

const char* AttemptStateName(AttemptState state);
std::optional<AttemptState> ParseAttemptState(std::string_view name);

// One life of a worker process for a job.
struct Attempt {
  int32_t number = 0;
  AttemptState state = AttemptState::kActive;
  std::string reason;
  absl::Time start_time;
  std::optional<absl::Time> end_time;
  std::optional<int32_t> exit_code;
  std::optional<int32_t> signal;
  int64_t first_step = 0;
  int64_t last_step = 0;
  std::string resumed_from;
  int64_t pid = 0;
  int64_t pid_start = 0;
  std::string boot_id;
  absl::Duration ran;  // how long its worker ran; 0 while it does
};

// A change of a job's state.
struct StateEvent {
  int64_t sequence = 0;
  std::optional<JobState> from;  // none for the first event
  JobState to = JobState::kQueued;
  absl::Time time;
  std::string message;
  std::string failure_reason;  // name of ftd.v1.FailureReason, or empty
  std::string hint;
  int32_t attempt = 0;
  std::string result_dir;
};

// What a spec may take, as JSON and with what a submit fills in. An answer that holds one has to
// fit into 4 MiB, gRPC's limit for a client that sets none.
inline constexpr size_t kMaxSpecBytes = 2 << 20;

struct Job {
  int64_t ordinal = 0;
  std::string id;
  std::string name;
  JobState state = JobState::kQueued;
  std::string spec_json;
  std::string model_dir;
  std::string dataset_path;
  std::string sources_json;  // lib/hub/sources.h; empty: nothing from the hub
  std::map<std::string, std::string> labels;
  int32_t priority = 0;
  std::string owner;
  std::string retry_of;            // id of the job that it repeats, or empty
  std::vector<std::string> after;  // ids of the jobs that have to succeed first
  bool blocked = false;            // it is queued, and one of them has not succeeded
  std::string start_from;  // ID or ID@STEP: whose weights it begins with; empty: the model's
  int64_t time_limit_seconds = 0;  // for all its attempts together; 0: none
  bool at_head = false;
  bool keep = false;  // it ends with what it has: the next attempt only makes the result
  std::optional<absl::Time> not_before;
  int64_t space_wanted = 0;  // bytes; more than 0: it waits until they are free on the disk
  int32_t crashes = 0;
  absl::Time create_time;
  std::optional<absl::Time> start_time;
  std::optional<absl::Time> end_time;
  std::string failure_reason;
  std::string message;
  std::string hint;
  std::string result_dir;

  // The id in `start_from`, and whether it is a checkpoint that the job begins with, not a result.
  std::string OriginId() const { return start_from.substr(0, start_from.find('@')); }
  bool StartsFromCheckpoint() const { return start_from.find('@') != std::string::npos; }

  // The user's name for it, else its id: also the name of its directory under results/.
  const std::string& DisplayName() const { return name.empty() ? id : name; }
};

}  // namespace ftd
