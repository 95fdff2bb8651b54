#include "worker/engine/training/batches.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/randperm.h>

#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "lib/plan/torch_random.h"
#include "tests/worker/engine/tiny_model.h"
#include "worker/engine/train.h"

namespace ftd::engine {
namespace {

TEST(FlatBatchTest, TargetsAreTheNextTokensOfEachDocument) {
  const TokenizedRow a{{5, 6, 7}, {5, kIgnoreLabel, 7}}, b{{8}, {8}}, c{{9, 1}, {9, 1}};
  const FlatBatch batch = ToDevice(Pack({a, b, c}, c10::kCPU), c10::kCPU);
  auto values = [](const at::Tensor& t) {
    return std::vector<int64_t>(t.const_data_ptr<int64_t>(),
                                t.const_data_ptr<int64_t>() + t.numel());
  };
  EXPECT_EQ(values(batch.input_ids), (std::vector<int64_t>{5, 6, 7, 8, 9, 1}));
  EXPECT_EQ(values(batch.positions), (std::vector<int64_t>{0, 1, 2, 0, 0, 1}));
  EXPECT_EQ(batch.documents.offsets, (std::vector<int64_t>{0, 3, 4, 6}));
  EXPECT_EQ(values(batch.supervised), (std::vector<int64_t>{1, 4}));
  EXPECT_EQ(values(batch.targets), (std::vector<int64_t>{7, 1}));
  EXPECT_EQ(values(batch.distinct_ids), (std::vector<int64_t>{1, 5, 6, 7, 8, 9}));
  EXPECT_EQ(values(batch.id_places), (std::vector<int64_t>{1, 2, 3, 4, 5, 0}));
  EXPECT_EQ(CountLabels(RowsInMemory({a, b, c}), {0, 1, 2}), 2);
}

// The order of a run's rows is planned without torch (lib/plan).
TEST(TorchRandpermTest, IsTorchs) {
  for (const int64_t seed :
       {int64_t{0}, int64_t{42}, int64_t{-3}, int64_t{1} << 40, int64_t{4294967295}}) {
    for (const int64_t n : {0, 1, 2, 7, 1000, 100'003}) {
      auto generator = at::make_generator<at::CPUGeneratorImpl>(static_cast<uint64_t>(seed));
      const at::Tensor order = at::randperm(n, generator, at::TensorOptions(at::kLong));
      const auto* const first = order.const_data_ptr<int64_t>();
      EXPECT_EQ(TorchRandperm(n, seed), std::vector<int64_t>(first, first + n))
          << n << " by seed " << seed;
    }
  }
}

// Rows of one token that is their number.
RowsInMemory NumberedRows(int32_t count) {
  std::vector<TokenizedRow> rows;
  rows.reserve(count);
  for (int32_t i = 0; i < count; ++i) rows.push_back({{i, i}, {i, i}});
  return RowsInMemory(std::move(rows));
}

std::vector<int64_t> RowsOf(const MicroBatch& batch) {
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < batch.packed.tokens(); i += 2)
    rows.push_back(batch.packed.numbers.const_data_ptr<int64_t>()[i]);
  return rows;
}

TEST(BatchLoaderTest, SplitsMicroBatchesIntoParts) {
  TrainSpec spec;
  spec.batch_size = 5;
  spec.gradient_accumulation_steps = 2;
  spec.shuffle = false;
  const RowsInMemory rows = NumberedRows(8);
  BatchLoader loader(rows, *BatchPlan::Make(spec, rows), c10::kCPU);
  EXPECT_EQ(loader.Take(1, 0).of, 2u);  // and reads ahead
  loader.SplitInto(4);
  std::vector<std::vector<int64_t>> parts;
  std::vector<bool> continues;
  for (size_t i = 0; i < 7; ++i) {
    const MicroBatch part = loader.Take(1, i);
    EXPECT_EQ(part.of, 7u);
    EXPECT_EQ(part.step_labels, 8);
    EXPECT_EQ(part.rows, static_cast<int64_t>(RowsOf(part).size()));
    parts.push_back(RowsOf(part));
    continues.push_back(part.continues);
  }
  EXPECT_EQ(parts, (std::vector<std::vector<int64_t>>{{0}, {1}, {2}, {3, 4}, {5}, {6}, {7}}));
  EXPECT_EQ(continues, (std::vector<bool>{false, true, true, true, false, true, true}));
}

TEST(BatchLoaderTest, GivesThePlansMicroBatchesInAnyOrder) {
  TrainSpec spec;
  spec.batch_size = 3;
  spec.gradient_accumulation_steps = 2;
  spec.max_steps = 6;
  const RowsInMemory rows = NumberedRows(8);
  BatchPlan plan = *BatchPlan::Make(spec, rows);
  BatchLoader loader(rows, plan, c10::kCPU);
  EXPECT_EQ(loader.steps_planned(), 6);
  for (const int64_t step :
       {1, 2, 3, 4, 5, 6, 3, 1, 2}) {  // back as well, as after a broken-off step
    const std::vector<std::vector<int64_t>> expected = plan.MicroBatches(step);
    for (size_t i = 0; i < expected.size(); ++i) {
      const MicroBatch batch = loader.Take(step, i);
      EXPECT_EQ(RowsOf(batch), expected[i]) << step;
      EXPECT_EQ(batch.of, expected.size());
      EXPECT_EQ(batch.rows, static_cast<int64_t>(expected[i].size()));
      EXPECT_EQ(batch.padded_tokens, 2 * batch.rows);
      EXPECT_EQ(batch.step_labels, step % 2 == 1 ? 6 : 2);
      EXPECT_EQ(batch.epoch_after, plan.EpochAfter(step));
    }
  }
}

// Row 5 cannot be read.
class RowsWithAHole : public RowsInMemory {
 public:
  using RowsInMemory::RowsInMemory;
  absl::StatusOr<TokenizedRow> Read(int64_t row) const override {
    if (row == 5) return absl::DataLossError("row 5 is gone");
    return RowsInMemory::Read(row);
  }
};

TEST(BatchLoaderTest, AnErrorComesWithTheMicroBatchThatItBelongsTo) {
  TrainSpec spec;
  spec.batch_size = 2;
  spec.shuffle = false;
  spec.max_steps = 4;
  const RowsWithAHole rows(std::vector<TokenizedRow>(8, TokenizedRow{{1, 2}, {1, 2}}));
  BatchLoader loader(rows, *BatchPlan::Make(spec, rows), c10::kCPU);
  loader.Take(1, 0);
  loader.Take(2, 0);
  EXPECT_THROW(loader.Take(3, 0), EngineError);
  EXPECT_EQ(loader.Take(4, 0).rows, 2);
}

}  // namespace
}  // namespace ftd::engine
