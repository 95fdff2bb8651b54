// Which rows each optimizer step sees. A function of the spec, the number of rows and the step
// alone, so a resumed run needs no other position than the step.
#pragma once

#include <cstdint>
#include <vector>

#include "artifacts/row_source.h"
#include "artifacts/train_spec.h"
#include "worker/engine/model.h"

namespace ftd::engine {

// The order of Hugging Face's Trainer: epoch e visits torch.randperm(n, generator(seed + e)), or
// file order; the last, smaller micro-batch of an epoch is kept, and an epoch's last step may have
// fewer micro-batches.
class BatchPlan {
 public:
  BatchPlan(const TrainSpec& spec, int64_t rows);

  int64_t steps_per_epoch() const { return steps_per_epoch_; }
  int64_t steps_planned() const { return steps_planned_; }

  // Row indices of each micro-batch of 1-based `step`.
  std::vector<std::vector<int64_t>> MicroBatches(int64_t step);

  // Passes over the data at the end of 1-based `step`, counted in micro-batches, as Hugging Face
  // does.
  double EpochAfter(int64_t step) const;

 private:
  int64_t rows_, batch_size_, accumulation_, steps_per_epoch_, steps_planned_;
  bool shuffle_;
  int64_t seed_;
  int64_t order_epoch_ = -1;
  std::vector<int64_t> order_;  // of order_epoch_
};

// Labels that rows contribute: the tokens, but for the first of each row, that are not ignored.
int64_t CountLabels(const RowSource& rows, const std::vector<int64_t>& indices);

// The rows of those numbers, in that order.
std::vector<TokenizedRow> ReadRows(const RowSource& rows, const std::vector<int64_t>& indices);

// The rows end to end, on the device.
FlatBatch MakeFlatBatch(const std::vector<TokenizedRow>& rows, c10::Device device);

}  // namespace ftd::engine
