#include "lib/plan/step_fit.h"

#include <algorithm>
#include <vector>

#include "lib/base/error.h"
#include "lib/plan/batch_plan.h"
#include "lib/plan/step_memory.h"
#include "lib/plan/step_shape.h"
#include "lib/plan/work_plan.h"

namespace ftd {
namespace {

// Returns the shape of the rows `indices[range.begin, range.end)`.
absl::StatusOr<BatchShape> ShapeOf(const RowSource& rows, const std::vector<int64_t>& indices,
                                   RowRange range) {
  BatchShape shape;
  for (int64_t i = range.begin; i < range.end; ++i) {
    FTD_ASSIGN_OR_RETURN(const RowLength length, rows.Length(indices[static_cast<size_t>(i)]));
    AddRow(length, shape);
  }
  return shape;
}

// Returns a shape of which no part of any micro-batch has more.
absl::StatusOr<BatchShape> LargestPart(BatchPlan& plan, const RowSource& rows, int64_t parts) {
  BatchShape largest;
  int64_t counted = 0;
  for (int64_t step = 1; step <= plan.steps_planned() && counted <= kRowsCounted; ++step) {
    for (const std::vector<int64_t>& indices : plan.MicroBatches(step)) {
      const auto count = static_cast<int64_t>(indices.size());
      const int64_t of = std::min(parts, count);
      for (int64_t part = 0; part < of; ++part) {
        FTD_ASSIGN_OR_RETURN(const BatchShape shape,
                             ShapeOf(rows, indices, PartOf(count, part, of)));
        largest = MostOf(largest, shape);
      }
      counted += count;
    }
  }
  return largest;
}

}  // namespace

RowRange PartOf(int64_t rows, int64_t part, int64_t parts) {
  return {part * rows / parts, (part + 1) * rows / parts};
}

// Parts before recomputation: they cost next to nothing, as long as a part keeps the device busy,
// and a recomputed layer costs a third of its work.
absl::StatusOr<StepFit> FitStep(const ModelConfig& config, const TrainSpec& spec,
                                const RowSource& rows, bool on_gpu, int64_t room) {
  FTD_ASSIGN_OR_RETURN(BatchPlan plan, BatchPlan::Make(spec, rows));
  StepShape shape = StepShapeOf(config, spec, on_gpu);
  StepFit fit;
  if (spec.gradient_checkpointing == Checkpointing::kOn) fit.recomputed = shape.layers;
  for (;;) {
    FTD_ASSIGN_OR_RETURN(BatchShape part, LargestPart(plan, rows, fit.parts));
    part.distinct = std::min(part.tokens, config.vocab_size);
    SetBatch(part, fit.parts > 1 || spec.gradient_accumulation_steps > 1, shape);
    if (StepFits(shape, fit.recomputed, room)) return fit;
    if (part.documents <= 1) break;
    fit.parts = std::min<int64_t>(2 * fit.parts, spec.batch_size);
  }
  if (spec.gradient_checkpointing == Checkpointing::kAuto)
    fit.recomputed = LayersToRecompute(shape, room);
  return fit;
}

}  // namespace ftd
