// The work that a job will do, counted before it begins.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "lib/data/row_source.h"
#include "lib/model/model_config.h"
#include "lib/plan/step_shape.h"
#include "lib/spec/train_spec.h"

namespace ftd {

// Every epoch sees the same rows, so of many only the first are counted: the largest micro-batch is
// then that of some million rows.
constexpr int64_t kRowsCounted = 4'000'000;

struct WorkPlan {
  int64_t steps = 0;
  int64_t micro_batches = 0;
  // Of all steps: a row counts once for each epoch.
  int64_t rows = 0, tokens = 0, labels = 0;
  double flops = 0;             // flops.h
  double evaluation_flops = 0;  // of all evaluations
  // No micro-batch has more of anything. Each number is one that some micro-batch has, but for
  // `distinct`: no more than its tokens and the vocabulary.
  BatchShape largest;
};

// Counts what each of the spec's steps takes, in the order of the training: exact, and a matter of
// seconds for ten million rows. Of more rows than kRowsCounted, epochs included, the largest
// micro-batch is that of the first epochs, and where batch_tokens fills the micro-batches the other
// numbers are extrapolated too. `config` has been judged; `eval`: the rows to evaluate on, or null.
// Errors: those of RowSource::Length.
absl::StatusOr<WorkPlan> PlanWork(const ModelConfig& config, const TrainSpec& spec,
                                  const RowSource& rows, const RowSource* eval);

}  // namespace ftd
