#include "worker/engine/training/batch_plan.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/randperm.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "lib/base/ceil_div.h"
#include "worker/engine/training/readable.h"

namespace ftd::engine {

BatchPlan::BatchPlan(const TrainSpec& spec, const RowSource& rows)
    : blocks_(spec.packing ? Readable(PackRows(rows, spec.seq_length)) : RowBlocks()),
      units_(spec.packing ? blocks_.size() : rows.size()),
      batch_size_(spec.batch_size),
      accumulation_(spec.gradient_accumulation_steps),
      steps_per_epoch_(CeilDiv(CeilDiv(units_, batch_size_), accumulation_)),
      steps_planned_(spec.max_steps > 0
                         ? spec.max_steps
                         : static_cast<int64_t>(
                               std::ceil(spec.num_epochs * static_cast<double>(steps_per_epoch_)))),
      shuffle_(spec.shuffle),
      seed_(spec.seed) {}

std::vector<std::vector<int64_t>> BatchPlan::MicroBatches(int64_t step) {
  const int64_t epoch = (step - 1) / steps_per_epoch_, in_epoch = (step - 1) % steps_per_epoch_;
  // The order is a function of seed and epoch, made once per epoch: a resumed run starts in the
  // middle of one and needs nothing but the step. accelerate's SeedableRandomSampler seeds a torch
  // generator with seed + epoch too, so the permutations are equal.
  if (epoch != order_epoch_) {
    order_epoch_ = epoch;
    order_.resize(static_cast<size_t>(units_));
    std::iota(order_.begin(), order_.end(), 0);
    if (shuffle_) {
      auto generator =
          at::make_generator<at::CPUGeneratorImpl>(static_cast<uint64_t>(seed_ + epoch));
      const at::Tensor permutation = at::randperm(units_, generator, at::TensorOptions(at::kLong));
      std::copy_n(permutation.const_data_ptr<int64_t>(), units_, order_.begin());
    }
  }
  std::vector<std::vector<int64_t>> batches;
  const int64_t first = in_epoch * accumulation_ * batch_size_;
  for (int64_t begin = first; begin < std::min(units_, first + accumulation_ * batch_size_);
       begin += batch_size_) {
    batches.push_back(RowsOf(begin, std::min(units_, begin + batch_size_)));
  }
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

double BatchPlan::EpochAfter(int64_t step) const {
  // The last step of an epoch may have fewer micro-batches than the others.
  const int64_t micro_batches = CeilDiv(units_, batch_size_);
  const int64_t epoch = (step - 1) / steps_per_epoch_, in_epoch = (step - 1) % steps_per_epoch_;
  const int64_t done = std::min(micro_batches, (in_epoch + 1) * accumulation_);
  return static_cast<double>(epoch) +
         static_cast<double>(done) / static_cast<double>(micro_batches);
}

}  // namespace ftd::engine
