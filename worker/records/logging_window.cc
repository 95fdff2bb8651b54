#include "worker/records/logging_window.h"

namespace ftd {

std::optional<StepRow> LoggingWindow::Add(const StepRow& row) {
  ++steps_;
  loss_ += row.loss;
  entropy_ += row.entropy;
  accuracy_ += row.mean_token_accuracy;
  if (row.step % logging_steps_ != 0) return std::nullopt;
  const auto steps = static_cast<double>(steps_);
  StepRow point = row;
  point.loss = loss_ / steps;
  point.entropy = entropy_ / steps;
  point.mean_token_accuracy = accuracy_ / steps;
  *this = LoggingWindow(logging_steps_);
  return point;
}

}  // namespace ftd
