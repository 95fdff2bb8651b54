#include "lib/plan/work_plan.h"

#include <algorithm>
#include <vector>

#include "lib/base/ceil_div.h"
#include "lib/base/error.h"
#include "lib/plan/batch_plan.h"
#include "lib/plan/work_sizes.h"

namespace ftd {
namespace {

// Takes in a micro-batch of those rows.
void Add(const std::vector<int64_t>& indices, const std::vector<RowLength>& lengths,
         WorkPlan& plan) {
  BatchShape batch{.documents = static_cast<int64_t>(indices.size())};
  for (const int64_t row : indices) {
    const RowLength& length = lengths[static_cast<size_t>(row)];
    batch.tokens += length.tokens;
    batch.labels += length.labels;
    batch.longest = std::max(batch.longest, length.tokens);
    batch.chunks += CeilDiv(length.tokens, kChunkTokens);
  }
  ++plan.micro_batches;
  plan.rows += batch.documents;
  plan.tokens += batch.tokens;
  plan.labels += batch.labels;
  BatchShape& most = plan.largest;
  most = {.tokens = std::max(most.tokens, batch.tokens),
          .labels = std::max(most.labels, batch.labels),
          .documents = std::max(most.documents, batch.documents),
          .longest = std::max(most.longest, batch.longest),
          .chunks = std::max(most.chunks, batch.chunks)};
}

}  // namespace

absl::StatusOr<WorkPlan> PlanWork(const TrainSpec& spec, const RowSource& rows,
                                  int64_t vocabulary) {
  FTD_ASSIGN_OR_RETURN(BatchPlan batches, BatchPlan::Make(spec, rows));
  std::vector<RowLength> lengths;
  lengths.reserve(static_cast<size_t>(rows.size()));
  for (int64_t row = 0; row < rows.size(); ++row) {
    FTD_ASSIGN_OR_RETURN(lengths.emplace_back(), rows.Length(row));
  }
  WorkPlan plan{.steps = batches.steps_planned()};
  for (int64_t step = 1; step <= plan.steps; ++step)
    for (const auto& indices : batches.MicroBatches(step)) Add(indices, lengths, plan);
  plan.largest.distinct = std::min(plan.largest.tokens, vocabulary);
  return plan;
}

}  // namespace ftd
