// The table of what an optimizer step measures. It has one row per field of ftd.v1.StepMetrics, and
// everything that stores, exports or shows a step walks it: the step log, metrics.jsonl and
// `ftctl metrics`, trainer_state.json, TensorBoard, /metrics, `ftctl watch`, ft-train's console and
// the tables in docs/. To add a metric, add the field, a row, and the code that measures it.
#pragma once

#include <optional>
#include <string>

#include "absl/types/span.h"
#include "ftd/v1/job.pb.h"
#include "nlohmann/json.hpp"

namespace ftd {

// A number as people read it: "loss 1.2345", "12.3%", "412 tok/s".
struct Shown {
  enum class Style { kInteger, kFixed, kPercent, kScientific };
  const char* before = nullptr;  // label; null: not shown here
  const char* after = "";        // unit
  Style style = Style::kFixed;
  int digits = 0;
};

struct StepMetric {
  // The field of ftd.v1.StepMetrics; also the key in JSON and CSV and the column in the step log.
  // A field that is `optional` there may be absent: null in JSON, empty in CSV, not shown.
  const char* name;
  // Its meaning for a step, with its unit; continues a sentence.
  const char* help;
  // True if metrics.jsonl and `ftctl metrics` have it.
  bool exported = true;
  // The way in which the log that people read sums up the steps since its last point
  // (logging_steps): transformers and TRL average some and take the last value of the others.
  enum class Window { kLast, kMean } window = Window::kLast;

  // The places where it appears. `table` is a column of `ftctl metrics`, and `before` its heading.
  Shown table, screen, line;
  const char* tensorboard = nullptr;    // tag, as transformers' Trainer writes it
  const char* trainer_state = nullptr;  // key in log_history, likewise

  // The series of /metrics: the last step's value, a total that the field already is, or the sum of
  // all steps' values.
  enum class Series { kNone, kGauge, kTotal, kSum } series = Series::kNone;
  const char* prometheus = nullptr;
};

// All of them, in the order of the keys in JSON.
absl::Span<const StepMetric> StepMetricsTable();

// The value in a step; a time is in seconds since the epoch. nullopt: absent. Here and below,
// `metric` is a row of the table.
std::optional<double> ValueIn(const v1::StepMetrics& step, const StepMetric& metric);

// The same as JSON: an integer stays one, and absent is null.
nlohmann::ordered_json JsonIn(const v1::StepMetrics& step, const StepMetric& metric);

// "Last step: learning rate used.": what /metrics says of the metric's series.
std::string SeriesHelp(const StepMetric& metric);

// Replaces the value of a floating-point metric.
void SetValueIn(v1::StepMetrics* step, const StepMetric& metric, double value);

// "1.2345": the number as `shown` has it, without label and unit; empty where it is absent.
std::string Text(const Shown& shown, std::optional<double> value);

// "loss 1.2345  grad_norm 0.83  lr 9.0e-05  412 tok/s": a step for a log that people follow.
std::string StepLine(const v1::StepMetrics& step);

// A step as one JSON object, and after it the measurements of the evaluation that followed it,
// where one did: the schema of docs/cli.md, for metrics.jsonl and `ftctl metrics` alike.
nlohmann::ordered_json StepJson(const v1::StepMetrics& step, const v1::Evaluation* evaluation);

// The keys that StepJson adds for an evaluation.
inline constexpr const char* kEvaluationKeys[] = {"eval_loss", "eval_entropy",
                                                  "eval_mean_token_accuracy"};

}  // namespace ftd
