// The rows that each optimizer step sees: a function of the spec, the number of rows and the step
// alone, so a resumed run needs no other position than the step.
#pragma once

#include <cstdint>
#include <vector>

#include "lib/data/row_blocks.h"
#include "lib/data/row_source.h"
#include "lib/spec/train_spec.h"

namespace ftd::engine {

// The order of Hugging Face's Trainer: epoch e visits torch.randperm(n, generator(seed + e)), or
// file order; the last, smaller micro-batch of an epoch is kept, and an epoch's last step may have
// fewer micro-batches.
class BatchPlan {
 public:
  // Row lengths are read where the spec asks for packing: then blocks of rows take the place of
  // rows. Throws EngineError when they cannot be read.
  BatchPlan(const TrainSpec& spec, const RowSource& rows);

  int64_t steps_per_epoch() const { return steps_per_epoch_; }
  int64_t steps_planned() const { return steps_planned_; }

  // Returns the row indices of each micro-batch of 1-based `step`.
  std::vector<std::vector<int64_t>> MicroBatches(int64_t step);

  // Returns the passes over the data at the end of 1-based `step`, counted in micro-batches, as
  // Hugging Face does.
  double EpochAfter(int64_t step) const;

 private:
  // Returns the rows of the units (rows or blocks) order_[begin, end).
  std::vector<int64_t> RowsOf(int64_t begin, int64_t end) const;

  RowBlocks blocks_;  // empty: each row by itself
  int64_t units_, batch_size_, accumulation_, steps_per_epoch_, steps_planned_;
  bool shuffle_;
  int64_t seed_;
  int64_t order_epoch_ = -1;
  std::vector<int64_t> order_;  // of order_epoch_
};

}  // namespace ftd::engine
