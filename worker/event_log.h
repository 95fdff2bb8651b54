// events.log from the worker's side: what the daemon and every watcher will hear.
#pragma once

#include <filesystem>
#include <mutex>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "artifacts/record_log.h"
#include "ftd/v1/worker.pb.h"

namespace ftd {

// Writes the records in order, from any thread. After End nothing more is written.
class EventLog {
 public:
  static absl::StatusOr<std::unique_ptr<EventLog>> Create(const std::filesystem::path& path);

  void Started(const std::string& device, int64_t first_step);
  // Phases and amounts; amounts of one phase are thinned to five a second.
  void Progress(v1::Progress::Phase phase, int64_t done, int64_t total, const std::string& unit,
                double rate = 0);
  void Checkpoint(const v1::Checkpoint& checkpoint);
  void Warning(const std::string& message);
  // The first end counts; returns whether this was it. Synced to disk.
  bool End(const v1::WorkerEvent::End& end);

  // Planned steps, for the Progress records from now on.
  void set_steps_planned(int64_t steps);

 private:
  explicit EventLog(RecordLogWriter writer) : writer_(std::move(writer)) {}
  void Append(v1::WorkerEvent event, bool sync);

  std::mutex mutex_;
  RecordLogWriter writer_;
  v1::Progress last_progress_;
  int64_t last_progress_micros_ = 0;
  int64_t steps_planned_ = 0;
  bool ended_ = false;
};

}  // namespace ftd
