// Follows the logs of one attempt: returns what is new in them, and becomes readable when there may
// be something.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "absl/status/statusor.h"
#include "ftd/v1/worker.pb.h"
#include "lib/base/file.h"
#include "lib/runlog/step_log.h"

namespace ftd {

// The worker's records since the last look, each kind in order.
struct AttemptNews {
  std::vector<v1::WorkerEvent> events;
  std::vector<v1::StepMetrics> steps;
};

// Used by one thread.
class AttemptFollower {
 public:
  // Watches the directory with inotify; the logs need not exist yet. Starts at their beginnings.
  static absl::StatusOr<AttemptFollower> Open(std::filesystem::path attempt_dir);

  // Readable when something in the directory changed since the last Read.
  int fd() const { return inotify_.get(); }
  // Returns the new records. Damage ends a log for good, as a reader of it sees it.
  AttemptNews Read();
  // The worker's heartbeat; 0 before it has one. Only a change means something.
  uint64_t Heartbeat() const;

 private:
  AttemptFollower(std::filesystem::path attempt_dir, Fd inotify)
      : attempt_dir_(std::move(attempt_dir)), inotify_(std::move(inotify)) {}

  std::filesystem::path attempt_dir_;
  Fd inotify_;
  uint64_t events_offset_ = 0;
  int64_t next_row_ = 0;
  int64_t summarised_rows_ = 0;
};

}  // namespace ftd
