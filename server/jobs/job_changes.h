// What the job store takes and gives beside jobs, attempts and events.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/jobs/job.h"

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

// Which jobs are asked for.
struct JobFilter {
  std::vector<JobState> states;               // empty: all
  std::optional<std::string> owner;           // none: everybody's
  std::map<std::string, std::string> labels;  // that a job has, among others
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

}  // namespace ftd
