#include "worker/records/logging_window.h"

namespace ftd {

std::optional<v1::StepMetrics> LoggingWindow::Add(const v1::StepMetrics& step) {
  for (const StepMetric& metric : StepMetricsTable()) {
    const auto value = ValueIn(step, metric);
    if (metric.window != StepMetric::Window::kMean || !value) continue;
    sums_[&metric].value += *value;
    ++sums_[&metric].steps;
  }
  if (step.step() % logging_steps_ != 0) return std::nullopt;
  v1::StepMetrics point = step;
  for (const auto& [metric, sum] : sums_)
    SetValueIn(&point, *metric, sum.value / static_cast<double>(sum.steps));
  sums_.clear();
  return point;
}

}  // namespace ftd
