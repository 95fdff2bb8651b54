#include "lib/plan/work_plan.h"

#include <gtest/gtest.h>

#include <vector>

#include "absl/strings/str_cat.h"

namespace ftd {
namespace {

// Rows of these lengths; neither the first token nor the second is a label.
RowsInMemory RowsOf(const std::vector<int>& lengths) {
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

TrainSpec SpecOf(int batch_size) {
  TrainSpec spec;
  spec.batch_size = batch_size;
  spec.shuffle = false;
  return spec;
}

TEST(WorkPlanTest, CountsWhatEveryStepSees) {
  TrainSpec spec = SpecOf(2);
  spec.gradient_accumulation_steps = 2;
  spec.num_epochs = 1.5;  // of two steps each: three
  const WorkPlan plan = *PlanWork(ConfigOf(1000), spec, RowsOf({5, 70, 3, 9, 6}));
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
  EXPECT_EQ(PlanWork(ConfigOf(50), spec, RowsOf({5, 70}))->largest.distinct, 50);
}

TEST(WorkPlanTest, BlocksOfRowsAndBatchesOfTokens) {
  TrainSpec packed = SpecOf(1);
  packed.packing = true;
  packed.seq_length = 10;
  const WorkPlan blocks = *PlanWork(ConfigOf(1000), packed, RowsOf({1, 6, 9, 4, 6, 5}));
  EXPECT_EQ(blocks.steps, 4);
  EXPECT_EQ(blocks.tokens, 31);
  EXPECT_EQ(blocks.largest.tokens, 10);
  EXPECT_EQ(blocks.largest.documents, 2);
  TrainSpec filled = SpecOf(1);
  filled.batch_tokens = 10;
  const WorkPlan batches = *PlanWork(ConfigOf(1000), filled, RowsOf({4, 6, 1, 10, 3, 3, 3, 2}));
  EXPECT_EQ(batches.tokens, 32);
  EXPECT_EQ(batches.largest.tokens, 10);
}

}  // namespace
}  // namespace ftd
