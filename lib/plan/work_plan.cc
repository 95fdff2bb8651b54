#include "lib/plan/work_plan.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "lib/base/ceil_div.h"
#include "lib/base/error.h"
#include "lib/plan/batch_plan.h"
#include "lib/plan/flops.h"
#include "lib/plan/work_sizes.h"

namespace ftd {
namespace {

class Counter {
 public:
  Counter(const ModelFlops& flops, std::vector<RowLength> lengths)
      : flops_(flops), lengths_(std::move(lengths)) {}

  // Takes in a micro-batch of those rows.
  void Add(const std::vector<int64_t>& rows, WorkPlan& plan) {
    BatchShape batch{.documents = static_cast<int64_t>(rows.size())};
    offsets_ = {0};
    for (const int64_t row : rows) {
      const RowLength& length = lengths_[static_cast<size_t>(row)];
      batch.tokens += length.tokens;
      batch.labels += length.labels;
      batch.longest = std::max(batch.longest, length.tokens);
      batch.chunks += CeilDiv(length.tokens, kChunkTokens);
      offsets_.push_back(batch.tokens);
    }
    ++plan.micro_batches;
    plan.rows += batch.documents;
    plan.tokens += batch.tokens;
    plan.labels += batch.labels;
    plan.flops += flops_.Of(offsets_, batch.labels);
    const BatchShape& most = plan.largest;
    plan.largest = {.tokens = std::max(most.tokens, batch.tokens),
                    .labels = std::max(most.labels, batch.labels),
                    .documents = std::max(most.documents, batch.documents),
                    .longest = std::max(most.longest, batch.longest),
                    .chunks = std::max(most.chunks, batch.chunks)};
  }

 private:
  const ModelFlops flops_;
  const std::vector<RowLength> lengths_;
  std::vector<int64_t> offsets_;
};

}  // namespace

absl::StatusOr<WorkPlan> PlanWork(const ModelConfig& config, const TrainSpec& spec,
                                  const RowSource& rows) {
  FTD_ASSIGN_OR_RETURN(BatchPlan batches, BatchPlan::Make(spec, rows));
  std::vector<RowLength> lengths;
  lengths.reserve(static_cast<size_t>(rows.size()));
  for (int64_t row = 0; row < rows.size(); ++row) {
    FTD_ASSIGN_OR_RETURN(lengths.emplace_back(), rows.Length(row));
  }
  Counter counter(FlopsOf(config, spec), std::move(lengths));
  WorkPlan plan{.steps = batches.steps_planned()};
  for (int64_t step = 1; step <= plan.steps; ++step)
    for (const auto& micro_batch : batches.MicroBatches(step)) counter.Add(micro_batch, plan);
  plan.largest.distinct = std::min(plan.largest.tokens, config.vocab_size);
  return plan;
}

}  // namespace ftd
