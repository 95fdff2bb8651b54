#include "worker/engine/training/batch_plan.h"

#include <utility>
#include <vector>

#include "gtest/gtest.h"

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

// tests/parity/chat_test.py compares the blocks with TRL's.
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

}  // namespace
}  // namespace ftd::engine
