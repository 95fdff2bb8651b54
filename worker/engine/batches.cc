#include "worker/engine/batches.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/randperm.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "artifacts/ceil_div.h"
#include "worker/engine/train.h"

namespace ftd::engine {
namespace {

at::Tensor OnDevice(const std::vector<int64_t>& values, c10::Device device) {
  return at::from_blob(const_cast<int64_t*>(values.data()), {static_cast<int64_t>(values.size())},
                       at::TensorOptions(at::kLong))
      .clone()
      .to(device);
}

template <typename T>
T Readable(absl::StatusOr<T> value) {
  if (value.ok()) return *std::move(value);
  throw EngineError(EngineError::Kind::kInternal, std::string(value.status().message()));
}

}  // namespace

BatchPlan::BatchPlan(const TrainSpec& spec, int64_t rows)
    : rows_(rows),
      batch_size_(spec.batch_size),
      accumulation_(spec.gradient_accumulation_steps),
      steps_per_epoch_(CeilDiv(CeilDiv(rows, spec.batch_size), spec.gradient_accumulation_steps)),
      steps_planned_(spec.max_steps > 0
                         ? spec.max_steps
                         : static_cast<int64_t>(
                               std::ceil(spec.num_epochs * static_cast<double>(steps_per_epoch_)))),
      shuffle_(spec.shuffle),
      seed_(spec.seed) {}

std::vector<std::vector<int64_t>> BatchPlan::MicroBatches(int64_t step) {
  const int64_t epoch = (step - 1) / steps_per_epoch_, in_epoch = (step - 1) % steps_per_epoch_;
  if (epoch != order_epoch_) {
    order_epoch_ = epoch;
    order_.resize(static_cast<size_t>(rows_));
    std::iota(order_.begin(), order_.end(), 0);
    if (shuffle_) {
      auto generator =
          at::make_generator<at::CPUGeneratorImpl>(static_cast<uint64_t>(seed_ + epoch));
      const at::Tensor permutation = at::randperm(rows_, generator, at::TensorOptions(at::kLong));
      std::copy_n(permutation.const_data_ptr<int64_t>(), rows_, order_.begin());
    }
  }
  std::vector<std::vector<int64_t>> batches;
  const int64_t first = in_epoch * accumulation_ * batch_size_;
  for (int64_t begin = first; begin < std::min(rows_, first + accumulation_ * batch_size_);
       begin += batch_size_) {
    batches.emplace_back(order_.begin() + begin,
                         order_.begin() + std::min(rows_, begin + batch_size_));
  }
  return batches;
}

double BatchPlan::EpochAfter(int64_t step) const {
  const int64_t micro_batches = CeilDiv(rows_, batch_size_);
  const int64_t epoch = (step - 1) / steps_per_epoch_, in_epoch = (step - 1) % steps_per_epoch_;
  const int64_t done = std::min(micro_batches, (in_epoch + 1) * accumulation_);
  return static_cast<double>(epoch) +
         static_cast<double>(done) / static_cast<double>(micro_batches);
}

int64_t CountLabels(const RowSource& rows, const std::vector<int64_t>& indices) {
  int64_t count = 0;
  for (int64_t index : indices) count += Readable(rows.Length(index)).labels;
  return count;
}

std::vector<TokenizedRow> ReadRows(const RowSource& rows, const std::vector<int64_t>& indices) {
  std::vector<TokenizedRow> read;
  read.reserve(indices.size());
  for (int64_t index : indices) read.push_back(Readable(rows.Read(index)));
  return read;
}

FlatBatch MakeFlatBatch(const std::vector<TokenizedRow>& rows, c10::Device device) {
  std::vector<int64_t> ids, positions, supervised, targets, offsets = {0};
  for (const TokenizedRow& row : rows) {
    for (size_t i = 0; i < row.input_ids.size(); ++i) {
      if (i + 1 < row.labels.size() && row.labels[i + 1] != kIgnoreLabel) {
        supervised.push_back(static_cast<int64_t>(ids.size()));
        targets.push_back(row.labels[i + 1]);
      }
      ids.push_back(row.input_ids[i]);
      positions.push_back(static_cast<int64_t>(i));
    }
    offsets.push_back(static_cast<int64_t>(ids.size()));
  }
  FlatBatch batch;
  batch.input_ids = OnDevice(ids, device);
  batch.positions = OnDevice(positions, device);
  batch.documents = MakeDocuments(std::move(offsets), device);
  batch.supervised = OnDevice(supervised, device);
  batch.targets = OnDevice(targets, device);
  return batch;
}

}  // namespace ftd::engine
