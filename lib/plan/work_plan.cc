#include "lib/plan/work_plan.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "lib/base/ceil_div.h"
#include "lib/base/error.h"
#include "lib/plan/batch_plan.h"
#include "lib/plan/flops.h"

namespace ftd {
namespace {

class Counter {
 public:
  Counter(const ModelFlops& flops, std::vector<RowLength> lengths)
      : flops_(flops), lengths_(std::move(lengths)) {}

  // Takes in a micro-batch of those rows.
  void Add(const std::vector<int64_t>& rows, WorkPlan& plan) {
    BatchShape batch;
    offsets_ = {0};
    for (const int64_t row : rows) {
      AddRow(lengths_[static_cast<size_t>(row)], batch);
      offsets_.push_back(batch.tokens);
    }
    ++plan.micro_batches;
    plan.rows += batch.documents;
    plan.tokens += batch.tokens;
    plan.labels += batch.labels;
    plan.flops += flops_.Of(offsets_, batch.labels);
    plan.largest = MostOf(plan.largest, batch);
  }

 private:
  const ModelFlops flops_;
  const std::vector<RowLength> lengths_;
  std::vector<int64_t> offsets_;
};

absl::StatusOr<std::vector<RowLength>> RowLengths(const RowSource& rows) {
  std::vector<RowLength> lengths;
  lengths.reserve(static_cast<size_t>(rows.size()));
  for (int64_t row = 0; row < rows.size(); ++row) {
    FTD_ASSIGN_OR_RETURN(lengths.emplace_back(), rows.Length(row));
  }
  return lengths;
}

// The forward pass's share of the operations: a frozen weight has two products, another one three.
double ForwardShare(Mode mode) { return mode == Mode::kFull ? 1.0 / 3 : 1.0 / 2; }

// Returns the operations of one evaluation.
absl::StatusOr<double> EvaluationFlops(const ModelFlops& flops, Mode mode, const RowSource& eval) {
  FTD_ASSIGN_OR_RETURN(const std::vector<RowLength> lengths, RowLengths(eval));
  double sum = 0;
  for (const RowLength& row : lengths) {
    const int64_t offsets[] = {0, row.tokens};
    sum += flops.Of(offsets, row.labels);
  }
  return sum * ForwardShare(mode);
}

// Makes a plan of `counted` epochs, or steps, one of `all`.
void Extend(int64_t counted, int64_t all, WorkPlan& plan) {
  const double ratio = static_cast<double>(all) / static_cast<double>(counted);
  for (int64_t* const number : {&plan.micro_batches, &plan.rows, &plan.tokens, &plan.labels})
    *number = std::llround(static_cast<double>(*number) * ratio);
  plan.flops *= ratio;
}

// Counts all steps; returns the passes over the data.
double CountSteps(const TrainSpec& spec, int64_t rows, BatchPlan& batches, Counter& counter,
                  WorkPlan& plan) {
  const auto count = [&](int64_t step) {
    for (const auto& micro_batch : batches.MicroBatches(step)) counter.Add(micro_batch, plan);
  };
  int64_t step = 1;
  if (spec.batch_tokens > 0) {
    // An epoch has as many steps as its order makes it have.
    while (step <= plan.steps && plan.rows <= kRowsCounted) count(step++);
    const double epochs = batches.EpochAfter(step - 1);
    if (step > plan.steps) return epochs;
    Extend(step - 1, plan.steps, plan);
    return epochs * static_cast<double>(plan.steps) / static_cast<double>(step - 1);
  }
  const int64_t of_epoch = batches.StepsOfEpochs(1);
  const int64_t whole = plan.steps / of_epoch;
  const int64_t counted = std::min(whole, 1 + kRowsCounted / rows);
  while (step <= counted * of_epoch) count(step++);
  if (counted < whole) Extend(counted, whole, plan);
  for (step = whole * of_epoch + 1; step <= plan.steps; ++step) count(step);
  return batches.EpochAfter(plan.steps);
}

// Returns how many evaluations there are (worker/run/training_run.cc): one at each multiple of
// eval_steps, or at the end of each epoch, and one after the last step.
int64_t EvaluationsOf(const TrainSpec& spec, int64_t steps, double epochs) {
  return spec.eval_steps > 0 ? CeilDiv(steps, spec.eval_steps)
                             : static_cast<int64_t>(std::ceil(epochs));
}

}  // namespace

absl::StatusOr<WorkPlan> PlanWork(const ModelConfig& config, const TrainSpec& spec,
                                  const RowSource& rows, const RowSource* eval) {
  FTD_ASSIGN_OR_RETURN(BatchPlan batches, BatchPlan::Make(spec, rows));
  FTD_ASSIGN_OR_RETURN(std::vector<RowLength> lengths, RowLengths(rows));
  const ModelFlops flops = FlopsOf(config, spec);
  double evaluation = 0;
  if (eval != nullptr) {
    FTD_ASSIGN_OR_RETURN(evaluation, EvaluationFlops(flops, spec.mode, *eval));
  }
  Counter counter(flops, std::move(lengths));
  WorkPlan plan{.steps = batches.steps_planned()};
  const double epochs = CountSteps(spec, rows.size(), batches, counter, plan);
  plan.evaluation_flops = evaluation * static_cast<double>(EvaluationsOf(spec, plan.steps, epochs));
  plan.largest.distinct = std::min(plan.largest.tokens, config.vocab_size);
  return plan;
}

}  // namespace ftd
