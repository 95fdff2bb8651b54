#include "lib/runlog/step_metrics.h"

#include <cmath>
#include <set>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ftd {
namespace {

// The table is the only place that has to know of a metric, so none may be missing there.
TEST(StepMetrics, EveryFieldHasARow) {
  std::set<std::string> fields, rows;
  const auto* type = v1::StepMetrics::descriptor();
  for (int i = 0; i < type->field_count(); ++i) fields.insert(type->field(i)->name());
  for (const StepMetric& metric : StepMetricsTable()) {
    EXPECT_TRUE(rows.insert(metric.name).second) << metric.name << " has two rows";
    EXPECT_EQ(metric.series != StepMetric::Series::kNone, metric.prometheus != nullptr);
    if (metric.window == StepMetric::Window::kMean) {
      EXPECT_EQ(type->FindFieldByName(metric.name)->cpp_type_name(), std::string("double"));
    }
  }
  EXPECT_EQ(rows, fields);
}

v1::StepMetrics Step() {
  v1::StepMetrics step;
  step.set_step(7);
  step.set_loss(1.23456);
  step.set_grad_norm(0.8349);
  step.set_learning_rate(9e-5);
  step.set_tokens(int64_t{1} << 53);
  step.set_tokens_per_second(412.4);
  step.set_padding_ratio(0.254);
  return step;
}

TEST(StepMetrics, ALineForPeople) {
  v1::StepMetrics step = Step();
  EXPECT_EQ(StepLine(step), "loss 1.2346  grad_norm 0.83  lr 9.0e-05  412 tok/s");
  step.set_mfu(0.4321);
  EXPECT_EQ(StepLine(step), "loss 1.2346  grad_norm 0.83  lr 9.0e-05  412 tok/s  MFU 43.2%");
}

TEST(StepMetrics, JsonForScripts) {
  v1::StepMetrics step = Step();
  auto json = StepJson(step, nullptr);
  EXPECT_EQ(json.begin().key(), "step");
  EXPECT_EQ(json["tokens"], int64_t{1} << 53);
  EXPECT_TRUE(json["tokens"].is_number_integer());
  EXPECT_TRUE(json["mfu"].is_null());
  EXPECT_FALSE(json.contains("eval_loss"));
  step.set_loss(std::nan(""));
  v1::Evaluation evaluation;
  evaluation.set_loss(3.5);
  json = StepJson(step, &evaluation);
  EXPECT_EQ(json["loss"], "NaN");
  EXPECT_EQ(json["eval_loss"], 3.5);
  for (const char* key : kEvaluationKeys) EXPECT_TRUE(json.contains(key)) << key;
}

}  // namespace
}  // namespace ftd
