// The rows that each optimizer step sees: a function of the spec, the rows' lengths and the step
// alone, so a resumed run needs no other position than the step.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/data/row_blocks.h"
#include "lib/data/row_source.h"
#include "lib/spec/train_spec.h"

namespace ftd {

// The order of Hugging Face's Trainer: epoch e visits torch.randperm(n, generator(seed + e)), or
// file order; the last, smaller micro-batch of an epoch is kept, and an epoch's last step may have
// fewer micro-batches. Where batch_tokens fills the micro-batches, epochs in different orders may
// differ in how many they have, and so in their steps. Not thread-safe.
class BatchPlan {
 public:
  // Row lengths are read where the spec asks for packing, which puts blocks of rows in the place of
  // rows, or for batch_tokens. Errors: those of RowSource::Length.
  static absl::StatusOr<BatchPlan> Make(const TrainSpec& spec, const RowSource& rows);

  int64_t steps_planned() const { return steps_planned_; }
  // Returns the steps of so many passes over the data.
  int64_t StepsOfEpochs(double epochs);

  // Returns the row indices of each micro-batch of 1-based `step`.
  std::vector<std::vector<int64_t>> MicroBatches(int64_t step);

  // Returns the passes over the data at the end of 1-based `step`, counted in micro-batches, as
  // Hugging Face does. Whole at the end of an epoch, and only there.
  double EpochAfter(int64_t step);

 private:
  BatchPlan(const TrainSpec& spec, int64_t rows, RowBlocks blocks, std::vector<int32_t> lengths);

  bool by_tokens() const { return batch_tokens_ > 0; }
  // Returns the steps of the epochs before `epoch`, and the epoch that `step` belongs to.
  int64_t StepsBefore(int64_t epoch);
  int64_t EpochOf(int64_t step);
  // Makes `epoch` the present one, unless it is.
  void Enter(int64_t epoch);
  // Returns how many micro-batches the present epoch has, and where in `order_` one begins, which
  // is where the one before it ends.
  int64_t Count() const;
  int64_t Begin(int64_t micro_batch) const;
  // Returns the rows of the units (rows or blocks) order_[begin, end).
  std::vector<int64_t> RowsOf(int64_t begin, int64_t end) const;

  RowBlocks blocks_;              // empty: each row by itself
  std::vector<int32_t> lengths_;  // of the rows in tokens, where batch_tokens needs them
  int64_t units_, batch_size_, batch_tokens_, accumulation_;
  bool shuffle_;
  int64_t seed_;
  std::vector<int64_t> steps_before_ = {0};  // by epoch, as far as batch_tokens had to count
  int64_t epoch_ = -1;                       // the present one, whose these are:
  std::vector<int64_t> order_, cuts_;        // the cuts only for batch_tokens
  int64_t steps_planned_;
};

}  // namespace ftd
