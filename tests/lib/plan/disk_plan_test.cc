#include "lib/plan/disk_plan.h"

#include <gtest/gtest.h>

#include "lib/model/architecture.h"

namespace ftd {
namespace {

// Tied: 100 × 24 numbers of the embedding; a layer has q and o of 24 × 24, k and v of 12 × 24,
// three of 40 × 24, and two norms of 24; one norm follows.
constexpr int64_t kTinyProjections = 2 * 24 * 24 + 2 * 12 * 24 + 3 * 40 * 24;
constexpr int64_t kAll = 100 * 24 + kTinyProjections + 2 * 24 + 24;

ModelConfig Config() {
  return *ParseModelConfig(R"({"model_type": "llama", "hidden_size": 24,
      "intermediate_size": 40, "num_attention_heads": 2, "num_key_value_heads": 1,
      "num_hidden_layers": 1, "max_position_embeddings": 64, "tie_word_embeddings": true,
      "vocab_size": 100})");
}

TEST(DiskPlanTest, OfAllWeights) {
  TrainSpec spec;
  spec.mode = Mode::kFull;
  spec.dtype = Dtype::kBfloat16;
  spec.save_total_limit = 2;
  DiskPlan plan = PlanDisk(Config(), spec);
  EXPECT_EQ(plan.checkpoint, kAll * 12);  // float32 weights and two moments
  EXPECT_EQ(plan.kept, 3);
  EXPECT_EQ(plan.result, kAll * 2);
  spec.precision = Precision::kHfParity;
  spec.load_best_model_at_end = true;
  plan = PlanDisk(Config(), spec);
  EXPECT_EQ(plan.checkpoint, kAll * 6);
  EXPECT_EQ(plan.kept, 4);
}

TEST(DiskPlanTest, OfAdapters) {
  TrainSpec spec;
  spec.lora.rank = 3;
  spec.lora.target_modules = {"q_proj", "down_proj"};
  constexpr int64_t kNumbers = 3 * (24 + 24) + 3 * (40 + 24);
  DiskPlan plan = PlanDisk(Config(), spec);
  EXPECT_EQ(plan.checkpoint, kNumbers * 12);
  EXPECT_EQ(plan.result, kNumbers * 4);
  spec.merge = true;
  EXPECT_EQ(PlanDisk(Config(), spec).result, kNumbers * 4 + kAll * 2);
}

}  // namespace
}  // namespace ftd
