#include "server/metrics/training_metrics.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <utility>

#include "absl/strings/ascii.h"
#include "server/jobs/wire.h"
#include "server/metrics/metric_family.h"

namespace ftd {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

constexpr int64_t kKeepMicros = 300000000;
constexpr size_t kKeepEnded = 3;

MetricLabels LabelsOf(const Job& job) {
  // A model is known by its last part: a whole path would make the label a long one.
  const std::filesystem::path model(ToWire(job).spec().model());
  return {{"ft_job", job.id},
          {"model", model.has_filename() ? model.filename().string()
                                         : model.parent_path().filename().string()},
          {"mode", ModeOf(job)}};
}

}  // namespace

std::string ModeOf(const Job& job) {
  return absl::AsciiStrToLower(v1::JobSpec::Mode_Name(ToWire(job).spec().mode()));
}

void TrainingMetrics::TakeRow(Series& series, const StepRow& row) {
  series.last = row;
  series.samples += static_cast<double>(row.samples);
  series.data_wait_seconds += row.data_wait_seconds;
  if (!std::isfinite(row.loss) || !std::isfinite(row.grad_norm)) ++series.nonfinite_steps;
  ++series.steps;
  series.step_seconds_sum += row.step_seconds;
  for (size_t i = 0; i < kStepSeconds.size(); ++i) {
    if (row.step_seconds <= kStepSeconds[i]) ++series.step_seconds_counts[i];
  }
}

void TrainingMetrics::OnNews(const Job& job, const Attempt& attempt, const AttemptNews& news) {
  absl::MutexLock lock(&mutex_);
  Series& series = series_[job.id];
  if (series.attempt != attempt.number) {
    series = {.labels = LabelsOf(job), .attempt = attempt.number};
  }
  series.heartbeat_time = NowMicros();
  for (const v1::WorkerEvent& event : news.events) {
    if (event.has_progress() && event.progress().steps_planned() > 0) {
      series.steps_planned = event.progress().steps_planned();
    }
    if (event.has_evaluation()) series.eval_loss = event.evaluation().loss();
    if (!event.has_checkpoint()) continue;
    ++series.checkpoints;
    series.checkpoint_bytes = static_cast<double>(event.checkpoint().size_bytes());
    series.checkpoint_time = static_cast<double>(TimestampToMicros(event.time())) / 1e6;
  }
  for (const StepRow& row : news.rows) TakeRow(series, row);
}

void TrainingMetrics::OnAttemptEnded(const Job& job) {
  absl::MutexLock lock(&mutex_);
  const auto found = series_.find(job.id);
  if (found != series_.end()) found->second.end_time = NowMicros();
  DropOld();
}

void TrainingMetrics::DropOld() {
  std::vector<int64_t> ended;
  for (const auto& [id, series] : series_) {
    if (series.end_time != 0) ended.push_back(series.end_time);
  }
  std::sort(ended.begin(), ended.end(), std::greater<>());
  int64_t oldest = NowMicros() - kKeepMicros;
  if (ended.size() > kKeepEnded) oldest = std::max(oldest, ended[kKeepEnded - 1]);
  std::erase_if(series_, [oldest](const auto& entry) {
    return entry.second.end_time != 0 && entry.second.end_time < oldest;
  });
}

double TrainingMetrics::EstimatedEnd(const Series& series) {
  const double left = static_cast<double>(series.steps_planned - series.last.step);
  return static_cast<double>(series.last.time_unix_micros) / 1e6 +
         left * series.step_seconds_sum / static_cast<double>(series.steps);
}

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

std::vector<MetricFamily> TrainingMetrics::Collect() const {
  absl::MutexLock lock(&mutex_);
  std::vector<const Series*> all, with_steps, with_evaluations, with_mfu;
  for (const auto& [id, series] : series_) {
    if (series.end_time != 0 && NowMicros() - series.end_time > kKeepMicros) continue;
    all.push_back(&series);
    if (series.steps > 0) with_steps.push_back(&series);
    if (series.last.mfu > 0) with_mfu.push_back(&series);
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
      all, [](S s) { return static_cast<double>(s.heartbeat_time) / 1e6; });
  add(kGauge, "ftd_train_steps_planned", "Optimizer steps that the job will take.", all,
      [](S s) { return static_cast<double>(s.steps_planned); });
  add(kGauge, "ftd_train_step", "Last optimizer step.", with_steps,
      [](S s) { return static_cast<double>(s.last.step); });
  add(kGauge, "ftd_train_epoch_ratio", "Passes over the data.", with_steps,
      [](S s) { return s.last.epoch; });
  add(kGauge, "ftd_train_loss", "Loss of the last step, nats per label.", with_steps,
      [](S s) { return s.last.loss; });
  add(kGauge, "ftd_eval_loss", "Loss of the last evaluation, nats per label.", with_evaluations,
      [](S s) { return *s.eval_loss; });
  add(kGauge, "ftd_train_learning_rate", "Learning rate of the last step.", with_steps,
      [](S s) { return s.last.learning_rate; });
  add(kGauge, "ftd_train_grad_norm", "L2 norm of the last step's gradient before clipping.",
      with_steps, [](S s) { return s.last.grad_norm; });
  add(kGauge, "ftd_train_padding_ratio", "Share of padding in the last step.", with_steps,
      [](S s) { return s.last.padding_ratio; });
  add(kGauge, "ftd_train_mfu_ratio", "Model FLOPs utilisation of the last step.", with_mfu,
      [](S s) { return s.last.mfu; });
  add(kCounter, "ftd_train_tokens_total", "Non-padding input tokens.", with_steps,
      [](S s) { return static_cast<double>(s.last.tokens_total); });
  add(kCounter, "ftd_train_samples_total", "Rows of the data.", with_steps,
      [](S s) { return s.samples; });
  add(kCounter, "ftd_train_data_wait_seconds_total", "Time that steps waited for data.", with_steps,
      [](S s) { return s.data_wait_seconds; });
  add(kCounter, "ftd_train_nonfinite_steps_total", "Steps whose loss or gradient was no number.",
      with_steps, [](S s) { return s.nonfinite_steps; });
  add(kGauge, "ftd_train_last_step_timestamp_seconds", "When the last step ended.", with_steps,
      [](S s) { return static_cast<double>(s.last.time_unix_micros) / 1e6; });
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
