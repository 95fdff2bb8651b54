// The points of the log that people read: one for every logging_steps steps.
#pragma once

#include <cstdint>
#include <optional>

#include "lib/runlog/step_log.h"

namespace ftd {

// Averages as transformers and TRL do: loss, entropy and token accuracy are means over the steps of
// the window, everything else is the last step's.
class LoggingWindow {
 public:
  explicit LoggingWindow(int64_t logging_steps) : logging_steps_(logging_steps) {}

  // The point that `row` completes, if it does.
  std::optional<StepRow> Add(const StepRow& row);

 private:
  int64_t logging_steps_;
  int64_t steps_ = 0;
  double loss_ = 0, entropy_ = 0, accuracy_ = 0;
};

}  // namespace ftd
