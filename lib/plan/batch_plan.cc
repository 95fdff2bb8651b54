#include "lib/plan/batch_plan.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "lib/base/ceil_div.h"
#include "lib/base/error.h"
#include "lib/plan/torch_random.h"

namespace ftd {
namespace {

absl::StatusOr<std::vector<int32_t>> LengthsOf(const RowSource& rows) {
  std::vector<int32_t> lengths(static_cast<size_t>(rows.size()));
  for (int64_t row = 0; row < rows.size(); ++row) {
    FTD_ASSIGN_OR_RETURN(const RowLength length, rows.Length(row));
    lengths[static_cast<size_t>(row)] = static_cast<int32_t>(length.tokens);
  }
  return lengths;
}

}  // namespace

absl::StatusOr<BatchPlan> BatchPlan::Make(const TrainSpec& spec, const RowSource& rows) {
  RowBlocks blocks;
  std::vector<int32_t> lengths;
  if (spec.packing) {
    FTD_ASSIGN_OR_RETURN(blocks, PackRows(rows, spec.seq_length));
  }
  if (spec.batch_tokens > 0) {
    FTD_ASSIGN_OR_RETURN(lengths, LengthsOf(rows));
  }
  return BatchPlan(spec, rows.size(), std::move(blocks), std::move(lengths));
}

BatchPlan::BatchPlan(const TrainSpec& spec, int64_t rows, RowBlocks blocks,
                     std::vector<int32_t> lengths)
    : blocks_(std::move(blocks)),
      lengths_(std::move(lengths)),
      units_(spec.packing ? blocks_.size() : rows),
      batch_size_(spec.batch_size),
      batch_tokens_(spec.batch_tokens),
      accumulation_(spec.gradient_accumulation_steps),
      shuffle_(spec.shuffle),
      seed_(spec.seed),
      steps_planned_(spec.max_steps > 0 ? spec.max_steps : StepsOfEpochs(spec.num_epochs)) {}

// Hugging Face's ceil(epochs × steps of an epoch), or the same of epochs that differ.
int64_t BatchPlan::StepsOfEpochs(double epochs) {
  const auto whole = by_tokens() ? static_cast<int64_t>(epochs) : 0;
  const double rest = epochs - static_cast<double>(whole);
  if (rest == 0) return StepsBefore(whole);
  const int64_t steps = StepsBefore(whole + 1) - StepsBefore(whole);
  return StepsBefore(whole) + static_cast<int64_t>(std::ceil(rest * static_cast<double>(steps)));
}

int64_t BatchPlan::StepsBefore(int64_t epoch) {
  if (!by_tokens()) return epoch * CeilDiv(Count(), accumulation_);
  // Only the order of an epoch says how many micro-batches it fills.
  while (static_cast<int64_t>(steps_before_.size()) <= epoch) {
    Enter(static_cast<int64_t>(steps_before_.size()) - 1);
    steps_before_.push_back(steps_before_.back() + CeilDiv(Count(), accumulation_));
  }
  return steps_before_[static_cast<size_t>(epoch)];
}

int64_t BatchPlan::EpochOf(int64_t step) {
  if (!by_tokens()) return (step - 1) / StepsBefore(1);
  while (steps_before_.back() < step) StepsBefore(static_cast<int64_t>(steps_before_.size()));
  return std::lower_bound(steps_before_.begin(), steps_before_.end(), step) -
         steps_before_.begin() - 1;
}

// The order is a function of seed and epoch, made once per epoch: a resumed run starts in the
// middle of one and needs nothing but the step. accelerate's SeedableRandomSampler seeds a torch
// generator with seed + epoch too, so the permutations are equal.
void BatchPlan::Enter(int64_t epoch) {
  if (epoch == epoch_) return;
  epoch_ = epoch;
  if (shuffle_) {
    order_ = TorchRandperm(units_, seed_ + epoch);
  } else {
    order_.resize(static_cast<size_t>(units_));
    std::iota(order_.begin(), order_.end(), 0);
  }
  if (by_tokens()) cuts_ = FillInOrder(order_, lengths_, batch_tokens_);
}

int64_t BatchPlan::Count() const {
  return by_tokens() ? static_cast<int64_t>(cuts_.size()) - 1 : CeilDiv(units_, batch_size_);
}

int64_t BatchPlan::Begin(int64_t micro_batch) const {
  return by_tokens() ? cuts_[static_cast<size_t>(micro_batch)]
                     : std::min(units_, micro_batch * batch_size_);
}

std::vector<std::vector<int64_t>> BatchPlan::MicroBatches(int64_t step) {
  Enter(EpochOf(step));
  const int64_t first = (step - 1 - StepsBefore(epoch_)) * accumulation_;
  std::vector<std::vector<int64_t>> batches;
  for (int64_t i = first; i < std::min(Count(), first + accumulation_); ++i)
    batches.push_back(RowsOf(Begin(i), Begin(i + 1)));
  return batches;
}

std::vector<int64_t> BatchPlan::RowsOf(int64_t begin, int64_t end) const {
  if (blocks_.size() == 0) return {order_.begin() + begin, order_.begin() + end};
  std::vector<int64_t> rows;
  for (int64_t i = begin; i < end; ++i) {
    const auto block = blocks_[order_[static_cast<size_t>(i)]];
    rows.insert(rows.end(), block.begin(), block.end());
  }
  return rows;
}

double BatchPlan::EpochAfter(int64_t step) {
  Enter(EpochOf(step));
  // The last step of an epoch may have fewer micro-batches than the others.
  const int64_t done = std::min(Count(), (step - StepsBefore(epoch_)) * accumulation_);
  return static_cast<double>(epoch_) + static_cast<double>(done) / static_cast<double>(Count());
}

}  // namespace ftd
