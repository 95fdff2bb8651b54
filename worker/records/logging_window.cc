#include "worker/records/logging_window.h"

namespace ftd {

// Means over the steps since the last point, as transformers logs the loss; a metric that is not
// averaged has its last value. Steps whose metric is missing do not count in its mean.
std::optional<v1::StepMetrics> LoggingWindow::Add(const v1::StepMetrics& step) {
  for (const StepMetric& metric : StepMetricsTable()) {
    if (metric.window != StepMetric::Window::kMean) continue;
    const auto value = ValueIn(step, metric);
    if (!value) continue;
    Sum& sum = sums_[&metric];
    sum.value += *value;
    ++sum.steps;
  }
  if (step.step() % logging_steps_ != 0) return std::nullopt;
  v1::StepMetrics point = step;
  for (const auto& [metric, sum] : sums_)
    SetValueIn(&point, *metric, sum.value / static_cast<double>(sum.steps));
  sums_.clear();
  return point;
}

void ForEachLogEntry(
    const RunHistory& history, int64_t logging_steps,
    const std::function<void(const v1::StepMetrics& point)>& on_point,
    const std::function<void(const v1::Evaluation&, const v1::StepMetrics& step)>& on_evaluation) {
  LoggingWindow window(logging_steps);
  auto evaluation = history.evaluations.begin();
  for (const v1::StepMetrics& step : history.steps) {
    if (const auto point = window.Add(step)) on_point(*point);
    for (; evaluation != history.evaluations.end() && evaluation->step() <= step.step();
         ++evaluation)
      on_evaluation(*evaluation, step);
  }
}

}  // namespace ftd
