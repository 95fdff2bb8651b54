#include "lib/plan/batch_plan.h"

#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/lib/plan/plan_fixtures.h"

namespace ftd {
namespace {

using Batches = std::vector<std::vector<int64_t>>;

TrainSpec BatchSpec(int batch, int accumulation, bool shuffle) {
  TrainSpec spec;
  spec.batch_size = batch;
  spec.gradient_accumulation_steps = accumulation;
  spec.shuffle = shuffle;
  return spec;
}

RowsInMemory Rows(int64_t count) {
  return RowsOf(std::vector<int64_t>(static_cast<size_t>(count), 2));
}

BatchPlan BatchPlanOf(const TrainSpec& spec, const RowSource& rows) {
  return *BatchPlan::Make(spec, rows);
}

TEST(BatchPlanTest, FileOrderWrapsAndKeepsTheLastPartialBatch) {
  TrainSpec spec = BatchSpec(3, 2, false);
  spec.max_steps = 5;
  BatchPlan plan = BatchPlanOf(spec, Rows(8));
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
    TrainSpec spec = BatchSpec(r.batch, r.accumulation, false);
    spec.num_epochs = r.epochs;
    EXPECT_EQ(BatchPlanOf(spec, Rows(r.rows)).steps_planned(), r.steps)
        << r.rows << "/" << r.batch << "/" << r.accumulation;
  }
}

// Golden orders: torch.randperm(10, generator=torch.Generator().manual_seed(s)), PyTorch 2.11.0
// from Python.
TEST(BatchPlanTest, ShufflesAsTorchDoes) {
  TrainSpec spec = BatchSpec(10, 1, true);
  spec.seed = 42;
  BatchPlan plan = BatchPlanOf(spec, Rows(10));
  EXPECT_EQ(plan.MicroBatches(1), (Batches{{2, 6, 1, 8, 4, 5, 0, 9, 3, 7}}));
  EXPECT_EQ(plan.MicroBatches(2), (Batches{{8, 4, 9, 0, 5, 1, 6, 7, 2, 3}}));
  EXPECT_EQ(plan.MicroBatches(1),
            (Batches{{2, 6, 1, 8, 4, 5, 0, 9, 3, 7}}));  // going back is a look-up, not a draw
}

// tests/parity/chat_test.py compares the blocks with TRL's.
TEST(BatchPlanTest, BlocksOfRows) {
  TrainSpec spec = BatchSpec(2, 1, false);
  spec.seq_length = 10;
  spec.packing = true;
  // 9+1, 6+4, 6, 5: the longest first, each into the fullest block that holds it.
  BatchPlan plan = BatchPlanOf(spec, RowsOf({1, 6, 9, 4, 6, 5}));
  EXPECT_EQ(plan.steps_planned(), 2);
  EXPECT_EQ(plan.MicroBatches(1), (Batches{{2, 0, 1, 3}}));
  EXPECT_EQ(plan.MicroBatches(2), (Batches{{4, 5}}));
  EXPECT_DOUBLE_EQ(plan.EpochAfter(1), 0.5);
}

TEST(BatchPlanTest, TokensFillMicroBatchesInOrder) {
  TrainSpec spec = BatchSpec(8, 2, false);
  spec.batch_tokens = 10;
  spec.num_epochs = 1.5;
  BatchPlan plan = BatchPlanOf(spec, RowsOf({4, 6, 1, 10, 3, 3, 3, 2}));
  EXPECT_EQ(plan.MicroBatches(1), (Batches{{0, 1}, {2}}));
  EXPECT_EQ(plan.MicroBatches(2), (Batches{{3}, {4, 5, 6}}));
  EXPECT_EQ(plan.MicroBatches(3), (Batches{{7}}));
  EXPECT_EQ(plan.MicroBatches(4), (Batches{{0, 1}, {2}}));
  EXPECT_EQ(plan.steps_planned(), 5);
  EXPECT_DOUBLE_EQ(plan.EpochAfter(2), 4.0 / 5);
  EXPECT_EQ(plan.EpochAfter(3), 1);
  EXPECT_DOUBLE_EQ(plan.EpochAfter(4), 1 + 2.0 / 5);
}

// The orders of ShufflesAsTorchDoes, cut by hand: the first epoch fills six micro-batches, the
// second five.
TEST(BatchPlanTest, EpochsOfTokensHaveStepsOfTheirOwn) {
  const RowsInMemory rows = RowsOf({5, 3, 7, 2, 6, 4, 1, 9, 3, 5});
  const Batches expected = {{2, 6}, {1, 8}, {4, 5},    {0, 9}, {3},   {7},
                            {8, 4}, {9, 0}, {5, 1, 6}, {7},    {2, 3}};
  TrainSpec spec = BatchSpec(8, 1, true);
  spec.seed = 42;
  spec.batch_tokens = 10;
  spec.num_epochs = 2;
  BatchPlan plan = BatchPlanOf(spec, rows);
  EXPECT_EQ(plan.steps_planned(), 11);
  for (const int64_t step : {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 3, 9, 6}) {
    SCOPED_TRACE(step);
    const Batches batch = {expected[static_cast<size_t>(step - 1)]};
    EXPECT_EQ(plan.MicroBatches(step), batch);
    EXPECT_EQ(BatchPlanOf(spec, rows).MicroBatches(step), batch) << "as a resumed run begins";
    EXPECT_DOUBLE_EQ(plan.EpochAfter(step), step <= 6 ? static_cast<double>(step) / 6
                                                      : 1 + static_cast<double>(step - 6) / 5);
  }
  for (const auto& [epochs, steps] : std::vector<std::pair<double, int64_t>>{
           {0.05, 1}, {0.5, 3}, {1, 6}, {1.2, 7}, {1.5, 9}, {2, 11}}) {
    spec.num_epochs = epochs;
    EXPECT_EQ(BatchPlanOf(spec, rows).steps_planned(), steps) << epochs;
  }
  spec.max_steps = int64_t{1} << 40;  // planned without a look at the epochs
  EXPECT_EQ(BatchPlanOf(spec, rows).steps_planned(), spec.max_steps);
}

}  // namespace
}  // namespace ftd
