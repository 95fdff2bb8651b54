#include "worker/engine/training/batches.h"

#include <numeric>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/worker/engine/tiny_model.h"
#include "worker/engine/train.h"

namespace ftd::engine {
namespace {

using Batches = std::vector<std::vector<int64_t>>;

TrainSpec Spec(int batch, int accumulation, bool shuffle) {
  TrainSpec spec;
  spec.batch_size = batch;
  spec.gradient_accumulation_steps = accumulation;
  spec.shuffle = shuffle;
  return spec;
}

// Rows of these lengths.
RowsInMemory RowsOf(const std::vector<size_t>& lengths) {
  std::vector<TokenizedRow> rows;
  rows.reserve(lengths.size());
  for (const size_t length : lengths)
    rows.push_back({std::vector<int32_t>(length, 7), std::vector<int32_t>(length, 7)});
  return RowsInMemory(std::move(rows));
}
RowsInMemory Rows(int64_t count) {
  return RowsOf(std::vector<size_t>(static_cast<size_t>(count), 2));
}

TEST(BatchPlanTest, FileOrderWrapsAndKeepsTheLastPartialBatch) {
  TrainSpec spec = Spec(3, 2, false);
  spec.max_steps = 5;
  BatchPlan plan(spec, Rows(8));
  EXPECT_EQ(plan.steps_per_epoch(), 2);
  EXPECT_EQ(plan.steps_planned(), 5);
  EXPECT_EQ(plan.MicroBatches(1), (Batches{{0, 1, 2}, {3, 4, 5}}));
  EXPECT_EQ(plan.MicroBatches(2), (Batches{{6, 7}}));
  EXPECT_EQ(plan.MicroBatches(3), (Batches{{0, 1, 2}, {3, 4, 5}}));
  EXPECT_DOUBLE_EQ(plan.EpochAfter(3), 1 + 2.0 / 3);
}

TEST(BatchPlanTest, PlansStepsAsHuggingFaceDoes) {
  // max_steps = ceil(epochs × ceil(ceil(rows / batch) / accumulation)).
  struct Row {
    int rows, batch, accumulation;
    double epochs;
    int64_t steps;
  };
  for (const Row& r : {Row{512, 8, 1, 1, 64}, Row{10, 4, 1, 1, 3}, Row{10, 4, 2, 1, 2},
                       Row{10, 4, 2, 1.25, 3}, Row{1, 8, 4, 3, 3}, Row{100, 1, 100, 0.5, 1}}) {
    TrainSpec spec = Spec(r.batch, r.accumulation, false);
    spec.num_epochs = r.epochs;
    EXPECT_EQ(BatchPlan(spec, Rows(r.rows)).steps_planned(), r.steps)
        << r.rows << "/" << r.batch << "/" << r.accumulation;
  }
}

// Golden orders: torch.randperm(10, generator=torch.Generator().manual_seed(s)), PyTorch 2.11.0
// from Python.
TEST(BatchPlanTest, ShufflesAsTorchDoes) {
  TrainSpec spec = Spec(10, 1, true);
  spec.seed = 42;
  BatchPlan plan(spec, Rows(10));
  EXPECT_EQ(plan.MicroBatches(1), (Batches{{2, 6, 1, 8, 4, 5, 0, 9, 3, 7}}));
  EXPECT_EQ(plan.MicroBatches(2), (Batches{{8, 4, 9, 0, 5, 1, 6, 7, 2, 3}}));
  EXPECT_EQ(plan.MicroBatches(1),
            (Batches{{2, 6, 1, 8, 4, 5, 0, 9, 3, 7}}));  // going back is a look-up, not a draw
}

// tests/parity/packing_test.py compares the blocks with TRL's.
TEST(BatchPlanTest, BlocksOfRows) {
  TrainSpec spec = Spec(2, 1, false);
  spec.seq_length = 10;
  spec.packing = true;
  // 9+1, 6+4, 6, 5: the longest first, each into the fullest block that holds it.
  BatchPlan plan(spec, RowsOf({1, 6, 9, 4, 6, 5}));
  EXPECT_EQ(plan.steps_per_epoch(), 2);
  EXPECT_EQ(plan.MicroBatches(1), (Batches{{2, 0, 1, 3}}));
  EXPECT_EQ(plan.MicroBatches(2), (Batches{{4, 5}}));
  EXPECT_DOUBLE_EQ(plan.EpochAfter(1), 0.5);
}

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

TEST(BatchLoaderTest, GivesThePlansMicroBatchesInAnyOrder) {
  TrainSpec spec = Spec(3, 2, true);
  spec.max_steps = 6;
  const RowsInMemory rows = NumberedRows(8);
  BatchPlan plan(spec, Rows(8));
  BatchLoader loader(rows, plan, c10::kCPU);
  for (const int64_t step :
       {1, 2, 3, 4, 5, 6, 3, 1, 2}) {  // back as well, as after a broken-off step
    const Batches expected = plan.MicroBatches(step);
    for (size_t i = 0; i < expected.size(); ++i) {
      const MicroBatch batch = loader.Take(step, i);
      EXPECT_EQ(RowsOf(batch), expected[i]) << step;
      EXPECT_EQ(batch.of, expected.size());
      EXPECT_EQ(batch.rows, static_cast<int64_t>(expected[i].size()));
      EXPECT_EQ(batch.padded_tokens, 2 * batch.rows);
      EXPECT_EQ(batch.step_labels, step % 2 == 1 ? 6 : 2);
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
  TrainSpec spec = Spec(2, 1, false);
  spec.max_steps = 4;
  const RowsWithAHole rows(std::vector<TokenizedRow>(8, TokenizedRow{{1, 2}, {1, 2}}));
  BatchLoader loader(rows, BatchPlan(spec, rows), c10::kCPU);
  loader.Take(1, 0);
  loader.Take(2, 0);
  EXPECT_THROW(loader.Take(3, 0), EngineError);
  EXPECT_EQ(loader.Take(4, 0).rows, 2);
}

}  // namespace
}  // namespace ftd::engine
