#include "lib/plan/work_plan.h"

#include <gtest/gtest.h>

#include <vector>

#include "absl/strings/str_cat.h"

namespace ftd {
namespace {

// Rows of these lengths; neither the first token nor the second is a label.
RowsInMemory LabelledRows(const std::vector<int>& lengths) {
  std::vector<TokenizedRow> rows;
  for (const int length : lengths) {
    TokenizedRow row;
    row.input_ids.assign(static_cast<size_t>(length), 7);
    row.labels = row.input_ids;
    if (length > 1) row.labels[1] = kIgnoreLabel;
    rows.push_back(std::move(row));
  }
  return RowsInMemory(std::move(rows));
}

ModelConfig ConfigOf(int64_t vocabulary) {
  return *ParseModelConfig(absl::StrCat(R"({"model_type": "llama", "hidden_size": 24,
      "intermediate_size": 40, "num_attention_heads": 2, "num_key_value_heads": 1,
      "num_hidden_layers": 1, "max_position_embeddings": 64, "tie_word_embeddings": true,
      "vocab_size": )",
                                        vocabulary, "}"));
}

TrainSpec UnshuffledSpec(int batch_size) {
  TrainSpec spec;
  spec.batch_size = batch_size;
  spec.shuffle = false;
  return spec;
}

TEST(WorkPlanTest, CountsWhatEveryStepSees) {
  TrainSpec spec = UnshuffledSpec(2);
  spec.gradient_accumulation_steps = 2;
  spec.num_epochs = 1.5;  // of two steps each: three
  const WorkPlan plan =
      *PlanWork(ConfigOf(1000), spec, LabelledRows({5, 70, 3, 9, 6}), /*eval=*/nullptr);
  EXPECT_EQ(plan.steps, 3);
  EXPECT_EQ(plan.micro_batches, 2 + 1 + 2);
  EXPECT_EQ(plan.rows, 5 + 4);
  EXPECT_EQ(plan.tokens, 93 + 87);
  EXPECT_EQ(plan.labels, (93 - 10) + (87 - 8));
  EXPECT_EQ(plan.largest.tokens, 75);
  EXPECT_EQ(plan.largest.labels, 71);
  EXPECT_EQ(plan.largest.documents, 2);
  EXPECT_EQ(plan.largest.longest, 70);
  EXPECT_EQ(plan.largest.chunks, 3);
  EXPECT_EQ(plan.largest.distinct, 75);
  EXPECT_EQ(PlanWork(ConfigOf(50), spec, LabelledRows({5, 70}), nullptr)->largest.distinct, 50);
}

// Five rows make three steps an epoch. An evaluation is half of the work of a step on its rows, all
// but whose adapters are frozen.
TEST(WorkPlanTest, CountsTheEvaluations) {
  TrainSpec spec = UnshuffledSpec(2);
  spec.num_epochs = 2;
  const ModelConfig config = ConfigOf(1000);
  const RowsInMemory rows = LabelledRows({5, 70, 3, 9, 6}), eval = LabelledRows({8, 12});
  EXPECT_EQ(PlanWork(config, spec, rows, nullptr)->evaluation_flops, 0);
  const double one = PlanWork(config, spec, eval, nullptr)->flops / 2 / 2;  // two epochs
  EXPECT_DOUBLE_EQ(PlanWork(config, spec, rows, &eval)->evaluation_flops, 2 * one);
  spec.eval_steps = 4;  // after step 4, and at the end
  EXPECT_DOUBLE_EQ(PlanWork(config, spec, rows, &eval)->evaluation_flops, 2 * one);
  spec.eval_steps = 2;
  EXPECT_DOUBLE_EQ(PlanWork(config, spec, rows, &eval)->evaluation_flops, 3 * one);
}

// Ten million epochs of five rows: only the first are walked through.
TEST(WorkPlanTest, ManyEpochsTakeNoTime) {
  TrainSpec spec = UnshuffledSpec(2);
  spec.max_steps = 30'000'001;
  const ModelConfig config = ConfigOf(1000);
  const RowsInMemory rows = LabelledRows({5, 70, 3, 9, 6});
  const WorkPlan plan = *PlanWork(config, spec, rows, &rows);
  EXPECT_EQ(plan.rows, 50'000'002);
  EXPECT_EQ(plan.tokens, 930'000'075);
  EXPECT_EQ(plan.labels, 830'000'071);
  EXPECT_EQ(plan.largest.tokens, 75);
  spec.max_steps = 3;
  const WorkPlan epoch = *PlanWork(config, spec, rows, &rows);
  EXPECT_NEAR(plan.flops / epoch.flops, 1e7, 10);
  EXPECT_NEAR(plan.evaluation_flops / epoch.evaluation_flops, 1e7 + 1, 1e-3);
  spec.batch_tokens = 80;  // two steps an epoch
  spec.max_steps = 20'000'000;
  EXPECT_NEAR(static_cast<double>(PlanWork(config, spec, rows, nullptr)->tokens), 93e7, 1e3);
}

TEST(WorkPlanTest, BlocksOfRowsAndBatchesOfTokens) {
  TrainSpec packed = UnshuffledSpec(1);
  packed.packing = true;
  packed.seq_length = 10;
  const WorkPlan blocks =
      *PlanWork(ConfigOf(1000), packed, LabelledRows({1, 6, 9, 4, 6, 5}), nullptr);
  EXPECT_EQ(blocks.steps, 4);
  EXPECT_EQ(blocks.tokens, 31);
  EXPECT_EQ(blocks.largest.tokens, 10);
  EXPECT_EQ(blocks.largest.documents, 2);
  TrainSpec filled = UnshuffledSpec(1);
  filled.batch_tokens = 10;
  const WorkPlan batches =
      *PlanWork(ConfigOf(1000), filled, LabelledRows({4, 6, 1, 10, 3, 3, 3, 2}), nullptr);
  EXPECT_EQ(batches.tokens, 32);
  EXPECT_EQ(batches.largest.tokens, 10);
}

}  // namespace
}  // namespace ftd
