// The messages for a watcher of a job, from a position on: the merge of the job's state events with
// the logs of its attempts, in one order that never depends on when it is read.
//
//   - The logs of an attempt come after the state event that started it and before the one that
//   ended it.
//   - Steps come after the event that moved the job to RUNNING.
//   - Within an attempt steps, events and changes of state go by their times, each kind in its own
//   order.
//
// Everything is read from the store and the files when it is asked for, in small batches, so that a
// watcher costs the same however far behind it is. Used by one thread at a time.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "ftd/v1/fine_tuning.pb.h"
#include "ftd/v1/worker.pb.h"
#include "lib/runlog/step_log.h"
#include "server/host/state_dir.h"
#include "server/jobs/job_store.h"
#include "server/streams/resume_token.h"

namespace ftd {

class WatchReader {
 public:
  // With an empty token the first message is a snapshot, and then every recorded step comes from
  // the first. Errors: NOT_FOUND JOB_NOT_FOUND, INVALID_ARGUMENT FIELD_INVALID for a token that is
  // not this job's.
  static absl::StatusOr<WatchReader> Open(JobStore& store, const StateDir& state_dir,
                                          const std::string& job, const std::string& resume_token);

  // Continues from a position that another reader of the job was at.
  static absl::StatusOr<WatchReader> At(JobStore& store, const StateDir& state_dir,
                                        const std::string& job_id, const WatchPosition& position);

  const std::string& job_id() const { return job_id_; }
  // After the last message, and after records that gave none.
  const WatchPosition& position() const { return position_; }

  // The next message with its token; none when there is nothing new now.
  absl::StatusOr<std::optional<v1::WatchJobResponse>> Next();
  // The final event and all before it were given out: nothing will ever come again.
  bool AtEnd() const { return at_end_; }

 private:
  struct LoggedEvent {
    std::optional<v1::WorkerEvent> event;  // none: unreadable
    uint64_t next_offset = 0;
  };

  WatchReader(JobStore& store, const StateDir& state_dir, std::string job_id)
      : store_(store), state_dir_(state_dir), job_id_(std::move(job_id)) {}

  absl::Status LoadHistory();
  v1::WatchJobResponse Stamp(v1::WatchJobResponse message) const;
  // Looks at the store, and then at the logs, unless what was read ahead says what comes next.
  absl::Status Look();
  bool IsAttemptOver() const;
  std::optional<v1::WatchJobResponse> NextFromLogs();
  // Both read a batch ahead once the one before is used up.
  void FillEvents();
  void FillSteps();
  std::optional<v1::WatchJobResponse> TakeEvent();
  v1::WatchJobResponse TakeStep();
  v1::WatchJobResponse TakeStateEvent();
  void EnterNextAttempt();

  JobStore& store_;
  const StateDir& state_dir_;
  std::string job_id_;
  WatchPosition position_;
  std::optional<v1::WatchJobResponse> snapshot_;
  JobState state_ = JobState::kQueued;  // as of position_.sequence
  int32_t newest_attempt_ = 0;          // started by the events up to position_.sequence
  bool at_end_ = false;
  // Read ahead, at most a batch of each. They say what comes next as long as `looked_`: neither of
  // the batches has been used up since.
  bool looked_ = false;
  std::optional<StateEvent> next_change_;
  std::deque<LoggedEvent> events_;
  std::deque<v1::StepMetrics> steps_;
};

}  // namespace ftd
