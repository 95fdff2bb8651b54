#include "server/metrics/training_metrics.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/time/clock.h"
#include "server/jobs/wire.h"
#include "server/metrics/metric_family.h"

namespace ftd {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

// A series stays for five minutes after its attempt, so that every scrape interval in use sees the
// end.
constexpr absl::Duration kKeep = absl::Minutes(5);
constexpr size_t kKeepEnded = 3;

// `ft_job` and not `job`, which Prometheus itself gives to each target.
MetricLabels LabelsOf(const Job& job) {
  // A model is known by its last part: a whole path would make the label a long one.
  const std::filesystem::path model(SpecOf(job)->model());
  return {{"ft_job", job.id},
          {"model", model.has_filename() ? model.filename().string()
                                         : model.parent_path().filename().string()},
          {"mode", ModeOf(job)}};
}

}  // namespace

std::string ModeOf(const Job& job) {
  return absl::AsciiStrToLower(v1::JobSpec::Mode_Name(SpecOf(job)->mode()));
}

// Cumulative buckets, as Prometheus wants them: a step counts in each bucket that it fits.
void TrainingMetrics::TakeStep(Series& series, const v1::StepMetrics& step) {
  series.last = step;
  for (const StepMetric& metric : StepMetricsTable()) {
    if (metric.series == StepMetric::Series::kSum)
      series.sums[&metric] += ValueIn(step, metric).value_or(0);
  }
  if (!std::isfinite(step.loss()) || !std::isfinite(step.grad_norm())) ++series.nonfinite_steps;
  ++series.steps;
  series.step_seconds_sum += step.step_seconds();
  for (size_t i = 0; i < kStepSeconds.size(); ++i) {
    if (step.step_seconds() <= kStepSeconds[i]) ++series.step_seconds_counts[i];
  }
}

void TrainingMetrics::OnNews(const Job& job, const Attempt& attempt, const AttemptNews& news) {
  absl::MutexLock lock(&mutex_);
  Series& series = series_[job.id];
  // Counters begin again with an attempt. Prometheus takes that for a restart, and rate() copes
  // with it.
  if (series.attempt != attempt.number) {
    series = {.labels = LabelsOf(job), .attempt = attempt.number};
  }
  series.heartbeat_time = absl::Now();
  for (const v1::WorkerEvent& event : news.events) {
    if (event.has_progress() && event.progress().steps_planned() > 0) {
      series.steps_planned = event.progress().steps_planned();
    }
    if (event.has_evaluation()) series.eval_loss = event.evaluation().loss();
    if (!event.has_checkpoint()) continue;
    ++series.checkpoints;
    series.checkpoint_bytes = static_cast<double>(event.checkpoint().size_bytes());
    series.checkpoint_time = ToUnixDouble(ToTime(event.time()));
  }
  for (const v1::StepMetrics& step : news.steps) TakeStep(series, step);
}

// The series is kept for a while; only its end is noted.
void TrainingMetrics::OnAttemptEnded(const Job& job) {
  absl::MutexLock lock(&mutex_);
  const auto found = series_.find(job.id);
  if (found != series_.end()) found->second.ended = SteadyNow();
  DropOld();
}

// Drops series by age, and all but the three that ended last.
void TrainingMetrics::DropOld() {
  std::vector<Moment> ended;
  for (const auto& [id, series] : series_) {
    if (series.ended) ended.push_back(*series.ended);
  }
  std::sort(ended.begin(), ended.end(), std::greater<>());
  Moment oldest = SteadyNow() - kKeep;
  if (ended.size() > kKeepEnded) oldest = std::max(oldest, ended[kKeepEnded - 1]);
  std::erase_if(series_, [oldest](const auto& entry) {
    return entry.second.ended && *entry.second.ended < oldest;
  });
}

// The mean of this attempt's steps so far, for the steps that are left.
double TrainingMetrics::EstimatedEnd(const Series& series) {
  const double left = static_cast<double>(series.steps_planned - series.last.step());
  return ToUnixDouble(ToTime(series.last.time())) +
         left * series.step_seconds_sum / static_cast<double>(series.steps);
}

// Built by hand, as all families that are made at the scrape. Buckets are cumulative already.
MetricFamily TrainingMetrics::StepSecondsFamily(const std::vector<const Series*>& all) {
  MetricFamily family = EmptyFamily("ftd_train_step_duration_seconds",
                                    "Wall time of optimizer steps.", MetricType::Histogram);
  for (const Series* series : all) {
    prometheus::ClientMetric metric = LabelledMetric(series->labels);
    metric.histogram.sample_count = series->steps;
    metric.histogram.sample_sum = series->step_seconds_sum;
    for (size_t i = 0; i < kStepSeconds.size(); ++i) {
      metric.histogram.bucket.push_back({series->step_seconds_counts[i], kStepSeconds[i]});
    }
    metric.histogram.bucket.push_back({series->steps, INFINITY});
    family.metric.push_back(std::move(metric));
  }
  return family;
}

std::vector<MetricFamily> TrainingMetrics::StepFamilies(const std::vector<const Series*>& all) {
  std::vector<MetricFamily> families;
  for (const StepMetric& metric : StepMetricsTable()) {
    if (metric.series == StepMetric::Series::kNone) continue;
    const bool gauge = metric.series == StepMetric::Series::kGauge;
    MetricFamily family = EmptyFamily(metric.prometheus, SeriesHelp(metric).c_str(),
                                      gauge ? MetricType::Gauge : MetricType::Counter);
    for (const Series* series : all) {
      const bool sum = metric.series == StepMetric::Series::kSum;
      const std::optional<double> value =
          sum ? series->sums.at(&metric) : ValueIn(series->last, metric);
      if (value) AddSample(family, series->labels, *value);
    }
    if (!family.metric.empty()) families.push_back(std::move(family));
  }
  return families;
}

std::vector<MetricFamily> TrainingMetrics::Collect() const {
  absl::MutexLock lock(&mutex_);
  std::vector<const Series*> all, with_steps, with_evaluations;
  for (const auto& [id, series] : series_) {
    // DropOld runs only when an attempt ends, so age is checked again.
    if (series.ended && SteadyNow() - *series.ended > kKeep) continue;
    all.push_back(&series);
    if (series.steps > 0) with_steps.push_back(&series);
    if (series.eval_loss.has_value()) with_evaluations.push_back(&series);
  }
  std::vector<MetricFamily> families;
  const auto add = [&](MetricType type, const char* name, const char* help,
                       const std::vector<const Series*>& of, const auto& value) {
    MetricFamily family = EmptyFamily(name, help, type);
    for (const Series* series : of) AddSample(family, series->labels, value(*series));
    if (!family.metric.empty()) families.push_back(std::move(family));
  };
  const MetricType kGauge = MetricType::Gauge, kCounter = MetricType::Counter;
  using S = const Series&;
  add(kGauge, "ftd_worker_heartbeat_timestamp_seconds", "When the worker last wrote something.",
      all, [](S s) { return ToUnixDouble(s.heartbeat_time); });
  add(kGauge, "ftd_train_steps_planned", "Optimizer steps that the job will take.", all,
      [](S s) { return static_cast<double>(s.steps_planned); });
  for (MetricFamily& family : StepFamilies(with_steps)) families.push_back(std::move(family));
  add(kGauge, "ftd_eval_loss", "Loss of the last evaluation, nats per label.", with_evaluations,
      [](S s) { return *s.eval_loss; });
  add(kCounter, "ftd_train_nonfinite_steps_total", "Steps whose loss or gradient was no number.",
      with_steps, [](S s) { return s.nonfinite_steps; });
  add(kGauge, "ftd_train_estimated_end_timestamp_seconds", "When the last step is expected.",
      with_steps, [](S s) { return EstimatedEnd(s); });
  families.push_back(StepSecondsFamily(with_steps));

  MetricFamily checkpoints =
      EmptyFamily("ftd_checkpoints_total", "Checkpoints, by result.", kCounter);
  std::vector<const Series*> with_checkpoints;
  for (const Series* series : all) {
    if (series->checkpoints == 0) continue;
    with_checkpoints.push_back(series);
    MetricLabels labels = series->labels;
    labels["result"] = "ok";
    AddSample(checkpoints, labels, series->checkpoints);
  }
  families.push_back(std::move(checkpoints));
  add(kGauge, "ftd_checkpoint_size_bytes", "Size of the last checkpoint.", with_checkpoints,
      [](S s) { return s.checkpoint_bytes; });
  add(kGauge, "ftd_checkpoint_last_timestamp_seconds", "When the last checkpoint was complete.",
      with_checkpoints, [](S s) { return s.checkpoint_time; });
  return families;
}

}  // namespace ftd
