// events.log from the worker's side: what the daemon and every watcher will hear. The facts of the
// run also go to stderr, in words: that is worker.log, which `ftctl logs` prints.
#pragma once

#include <filesystem>
#include <mutex>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "ftd/v1/worker.pb.h"
#include "lib/base/steady_clock.h"
#include "lib/runlog/record_log.h"
#include "lib/spec/train_spec.h"
#include "worker/run/run_observer.h"

namespace ftd {

// Writes the records in order, from any thread. After End nothing more is written.
class EventLog : public RunObserver {
 public:
  static absl::StatusOr<std::unique_ptr<EventLog>> Create(const std::filesystem::path& path);

  void Started(const v1::AttemptRequest& request, const TrainSpec& spec, const std::string& device,
               int64_t first_step);
  // Phases and amounts; amounts of one phase are thinned to five a second.
  void Progress(v1::Progress::Phase phase, const Amount& amount) override;
  // Planned steps, for the Progress records from now on.
  void Data(const v1::DataReport& report) override;
  void Outline(const RunOutline& outline) override;
  // Nothing: the daemon reads the step log.
  void Step(const v1::StepMetrics& step) override;
  void Evaluation(const v1::Evaluation& evaluation) override;
  void Sample(const v1::GeneratedSample& sample) override;
  void Checkpoint(const v1::Checkpoint& checkpoint) override;
  void Warning(const std::string& message) override;
  // The first end counts; returns whether this was it. Synced to disk.
  bool End(const v1::WorkerEvent::End& end);

 private:
  explicit EventLog(RecordLogWriter writer) : writer_(std::move(writer)) {}
  void Append(v1::WorkerEvent event, bool sync);

  std::mutex mutex_;
  RecordLogWriter writer_;
  v1::Progress last_progress_;
  Moment last_progress_time_;
  int64_t steps_planned_ = 0;
  bool ended_ = false;
};

}  // namespace ftd
