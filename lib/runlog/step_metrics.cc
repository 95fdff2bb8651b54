#include "lib/runlog/step_metrics.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "lib/base/json.h"
#include "lib/runlog/timestamp.h"

namespace ftd {
namespace {

using google::protobuf::FieldDescriptor;
using Style = Shown::Style;
using Window = StepMetric::Window;
using Series = StepMetric::Series;

// The order of rows is that of the keys in JSON and of the step log's columns.
constexpr StepMetric kTable[] = {
    {.name = "step",
     .help = "optimizer step, from 1",
     .table = {"STEP", "", Style::kInteger},
     .trainer_state = "step",
     .series = Series::kGauge,
     .prometheus = "ftd_train_step"},
    {.name = "epoch",
     .help = "passes over the data so far, fractional",
     .table = {"EPOCH", "", Style::kFixed, 3},
     .screen = {"epoch ", "", Style::kFixed, 2},
     .tensorboard = "train/epoch",
     .trainer_state = "epoch",
     .series = Series::kGauge,
     .prometheus = "ftd_train_epoch_ratio"},
    {.name = "loss",
     .help = "mean negative log-likelihood per label, nats",
     .window = Window::kMean,
     .table = {"LOSS", "", Style::kFixed, 4},
     .screen = {"loss ", "", Style::kFixed, 4},
     .line = {"loss ", "", Style::kFixed, 4},
     .tensorboard = "train/loss",
     .trainer_state = "loss",
     .series = Series::kGauge,
     .prometheus = "ftd_train_loss"},
    {.name = "entropy",
     .help = "mean entropy of the predictions at the labels, nats; TRL's `entropy`",
     .window = Window::kMean,
     .table = {"ENTROPY", "", Style::kFixed, 4},
     .tensorboard = "train/entropy",
     .trainer_state = "entropy"},
    {.name = "mean_token_accuracy",
     .help = "share of the labels that were the likeliest token, 0 to 1; TRL's",
     .window = Window::kMean,
     .table = {"ACCURACY", "%", Style::kPercent, 1},
     .tensorboard = "train/mean_token_accuracy",
     .trainer_state = "mean_token_accuracy"},
    {.name = "grad_norm",
     .help = "L2 norm of the gradient before clipping",
     .table = {"GRAD_NORM", "", Style::kFixed, 3},
     .screen = {"grad norm ", "", Style::kFixed, 2},
     .line = {"grad_norm ", "", Style::kFixed, 2},
     .tensorboard = "train/grad_norm",
     .trainer_state = "grad_norm",
     .series = Series::kGauge,
     .prometheus = "ftd_train_grad_norm"},
    {.name = "grad_clip_ratio",
     .help = "what clipping multiplied the gradient with, 0 to 1; 1: it was not clipped",
     .window = Window::kMean,
     .table = {"CLIP", "", Style::kFixed, 2},
     .tensorboard = "train/grad_clip_ratio",
     .series = Series::kGauge,
     .prometheus = "ftd_train_grad_clip_ratio"},
    {.name = "learning_rate",
     .help = "learning rate used",
     .table = {"LR", "", Style::kScientific, 2},
     .screen = {"lr ", "", Style::kScientific, 1},
     .line = {"lr ", "", Style::kScientific, 1},
     .tensorboard = "train/learning_rate",
     .trainer_state = "learning_rate",
     .series = Series::kGauge,
     .prometheus = "ftd_train_learning_rate"},
    {.name = "tokens",
     .help = "input tokens without padding",
     .table = {"TOKENS", "", Style::kInteger}},
    {.name = "tokens_total",
     .help = "input tokens without padding, of all steps so far",
     .trainer_state = "num_tokens",
     .series = Series::kTotal,
     .prometheus = "ftd_train_tokens_total"},
    {.name = "padding_ratio",
     .help = "share of padding, had the batches been padded to their longest rows, 0 to 1",
     .table = {"PADDING", "%", Style::kPercent, 0},
     .screen = {"padding ", "%", Style::kPercent, 0},
     .series = Series::kGauge,
     .prometheus = "ftd_train_padding_ratio"},
    {.name = "tokens_per_second",
     .help = "input tokens per second, without padding",
     .table = {"TOK/S", "", Style::kFixed, 0},
     .screen = {"", " tok/s", Style::kFixed, 0},
     .line = {"", " tok/s", Style::kFixed, 0},
     .tensorboard = "train/tokens_per_second"},
    {.name = "step_seconds",
     .help = "wall time, seconds",
     .table = {"SECONDS", "", Style::kFixed, 3}},
    {.name = "mfu",
     .help = "model FLOPs utilisation, 0 to 1; absent where the device's peak is not known",
     .table = {"MFU", "%", Style::kPercent, 1},
     .screen = {"MFU ", "%", Style::kPercent, 1},
     .line = {"MFU ", "%", Style::kPercent, 1},
     .tensorboard = "train/mfu",
     .series = Series::kGauge,
     .prometheus = "ftd_train_mfu_ratio"},
    {.name = "samples",
     .help = "rows of the data",
     .exported = false,
     .series = Series::kSum,
     .prometheus = "ftd_train_samples_total"},
    {.name = "data_wait_seconds",
     .help = "time spent waiting for rows to be read, seconds; the next rows are read while the "
             "device computes",
     .exported = false,
     .series = Series::kSum,
     .prometheus = "ftd_train_data_wait_seconds_total"},
    {.name = "time",
     .help = "when the step ended",
     .exported = false,
     .series = Series::kGauge,
     .prometheus = "ftd_train_last_step_timestamp_seconds"},
};

// Returns the field of a row of the table. Looked up once: a long job has millions of values.
const FieldDescriptor* FieldOf(const StepMetric& metric) {
  static const auto& fields = *new std::vector<const FieldDescriptor*>([] {
    std::vector<const FieldDescriptor*> found;
    for (const StepMetric& row : kTable)
      found.push_back(v1::StepMetrics::descriptor()->FindFieldByName(row.name));
    return found;
  }());
  return fields[static_cast<size_t>(&metric - kTable)];
}

}  // namespace

absl::Span<const StepMetric> StepMetricsTable() { return kTable; }

std::optional<double> ValueIn(const v1::StepMetrics& step, const StepMetric& metric) {
  const FieldDescriptor* field = FieldOf(metric);
  const auto* get = step.GetReflection();
  // By the type of the proto's field: integers, the time, and real numbers.
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT64:
      return static_cast<double>(get->GetInt64(step, field));
    case FieldDescriptor::CPPTYPE_MESSAGE:  // the time
      return ToUnixDouble(ToTime(step.time()));
    default:
      if (field->has_presence() && !get->HasField(step, field)) return std::nullopt;
      return get->GetDouble(step, field);
  }
}

// An integer stays an integer, exact beyond 2^53.
nlohmann::ordered_json JsonIn(const v1::StepMetrics& step, const StepMetric& metric) {
  const FieldDescriptor* field = FieldOf(metric);
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_INT64)
    return step.GetReflection()->GetInt64(step, field);
  const auto value = ValueIn(step, metric);
  return value ? JsonNumber(*value) : nullptr;
}

// The table's help describes one step; a series needs to say of which steps.
std::string SeriesHelp(const StepMetric& metric) {
  switch (metric.series) {
    case Series::kSum:
      return absl::StrCat("All steps of the attempt: ", metric.help, ".");
    case Series::kTotal:
      return absl::StrCat("Up to the last step: ", metric.help, ".");
    default:
      return absl::StrCat("Last step: ", metric.help, ".");
  }
}

// Only for averages, which are real numbers.
void SetValueIn(v1::StepMetrics* step, const StepMetric& metric, double value) {
  step->GetReflection()->SetDouble(step, FieldOf(metric), value);
}

// "" for an absent value, so that a table's cell stays empty.
std::string Text(const Shown& shown, std::optional<double> value) {
  if (!value) return "";
  switch (shown.style) {
    case Style::kInteger:
      return absl::StrFormat("%.0f", *value);
    case Style::kFixed:
      return absl::StrFormat("%.*f", shown.digits, *value);
    case Style::kPercent:
      return absl::StrFormat("%.*f", shown.digits, 100 * *value);
    case Style::kScientific:
      return absl::StrFormat("%.*e", shown.digits, *value);
  }
  return "";
}

// Two blanks between metrics: labels have single ones.
std::string StepLine(const v1::StepMetrics& step) {
  std::string line;
  for (const StepMetric& metric : kTable) {
    const auto value = ValueIn(step, metric);
    if (metric.line.before == nullptr || !value) continue;
    absl::StrAppend(&line, line.empty() ? "" : "  ", metric.line.before, Text(metric.line, value),
                    metric.line.after);
  }
  return line;
}

// The keys of an evaluation are there only on the lines of steps that were evaluated.
nlohmann::ordered_json StepJson(const v1::StepMetrics& step, const v1::Evaluation* evaluation) {
  nlohmann::ordered_json json;
  for (const StepMetric& metric : kTable) {
    if (metric.exported) json[metric.name] = JsonIn(step, metric);
  }
  if (evaluation != nullptr) {
    const double values[] = {evaluation->loss(), evaluation->entropy(),
                             evaluation->mean_token_accuracy()};
    for (size_t i = 0; i < std::size(kEvaluationKeys); ++i)
      json[kEvaluationKeys[i]] = JsonNumber(values[i]);
  }
  return json;
}

}  // namespace ftd
