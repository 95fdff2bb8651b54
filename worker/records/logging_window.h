// The points of the log that people read: one for every logging_steps steps.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>

#include "ftd/v1/job.pb.h"
#include "lib/runlog/step_metrics.h"
#include "worker/records/run_history.h"

namespace ftd {

// Averages as transformers and TRL do: what the table of metrics has as a mean is one over the
// steps of the window, everything else is the last step's.
class LoggingWindow {
 public:
  explicit LoggingWindow(int64_t logging_steps) : logging_steps_(logging_steps) {}

  // The point that `step` completes, if it does.
  std::optional<v1::StepMetrics> Add(const v1::StepMetrics& step);

 private:
  int64_t logging_steps_;
  struct Sum {
    double value = 0;
    int64_t steps = 0;
  };
  std::map<const StepMetric*, Sum> sums_;
};

// Calls for each point of the log of a whole run, and for each evaluation after its step's point,
// with that step.
void ForEachLogEntry(
    const RunHistory& history, int64_t logging_steps,
    const std::function<void(const v1::StepMetrics& point)>& on_point,
    const std::function<void(const v1::Evaluation&, const v1::StepMetrics& step)>& on_evaluation);

}  // namespace ftd
