// Against figures that follow from the models' published sizes by hand.
#include "lib/plan/memory_plan.h"

#include <gtest/gtest.h>

#include "tests/lib/plan/plan_fixtures.h"

namespace ftd {
namespace {

constexpr int64_t kLayers = 32, kHidden = 4096, kInner = 14336, kVocabulary = 128256, kKeys = 1024;
// Of Llama 3.1 8B, 8,030,261,248 in all.
constexpr int64_t kProjections =
    kLayers * (2 * kHidden * kHidden + 2 * kKeys * kHidden + 3 * kHidden * kInner);
constexpr int64_t kOthers = 2 * kVocabulary * kHidden + (2 * kLayers + 1) * kHidden;

MemoryPlan MemoryPlanOf(const ModelConfig& config, const char* spec_json) {
  TrainSpec spec = *ResolveTrainSpec(spec_json, Dtype::kBfloat16);
  spec.lora.target_modules = TargetModulesOf(*config.family);
  const BatchShape batch{
      .tokens = 2048, .labels = 2048, .documents = 1, .distinct = 900, .longest = 2048};
  return PlanMemory(config, spec, /*on_gpu=*/true, batch, 0);
}

TEST(MemoryPlanTest, Lora) {
  ASSERT_EQ(kProjections + kOthers, 8030261248);
  const MemoryPlan plan = MemoryPlanOf(
      Llama8B(),
      R"({"model": "m", "dataset": {"path": "d"}, "mode": "LORA", "lora": {"rank": 8}})");
  constexpr int64_t kAdapters = 20971520;  // PEFT's "trainable params" for r=8, all-linear
  EXPECT_EQ(plan.weights, 2 * 8030261248);
  EXPECT_EQ(plan.scratch, 0);
  EXPECT_EQ(plan.adapters, 2 * kAdapters);
  EXPECT_EQ(plan.masters, 4 * kAdapters);
  EXPECT_EQ(plan.gradients, 4 * kAdapters);
  EXPECT_EQ(plan.optimizer, 8 * kAdapters);
}

TEST(MemoryPlanTest, Qlora) {
  const MemoryPlan plan = MemoryPlanOf(
      Llama8B(),
      R"({"model": "m", "dataset": {"path": "d"}, "mode": "QLORA", "lora": {"rank": 8}})");
  // Half a byte each, a byte for 64, four bytes for 64 · 256; and a map of 1 KiB for each tensor.
  EXPECT_EQ(plan.weights, kProjections / 2 + kProjections / 64 + kProjections / 4096 +
                              kLayers * 7 * 1024 + 2 * kOthers);
  EXPECT_EQ(plan.scratch, 2 * 2 * kInner * kHidden);
}

TEST(MemoryPlanTest, Full) {
  const MemoryPlan masters =
      MemoryPlanOf(Llama8B(), R"({"model": "m", "dataset": {"path": "d"}, "mode": "FULL"})");
  EXPECT_EQ(masters.kept(), 18 * 8030261248);
  const MemoryPlan like_hf = MemoryPlanOf(
      Llama8B(),
      R"({"model": "m", "dataset": {"path": "d"}, "mode": "FULL", "precision": "HF_PARITY"})");
  EXPECT_EQ(like_hf.kept(), 8 * 8030261248);
  const MemoryPlan exact = MemoryPlanOf(
      Llama8B(), R"({"model": "m", "dataset": {"path": "d"}, "mode": "FULL", "dtype": "FLOAT32"})");
  EXPECT_EQ(exact.kept(), 16 * 8030261248);
}

// A tied head is held once, and a tensor has a whole number of blocks.
TEST(MemoryPlanTest, OddSizes) {
  const ModelConfig config = *ParseModelConfig(R"({"model_type": "llama", "hidden_size": 24,
      "intermediate_size": 40, "num_attention_heads": 2, "num_key_value_heads": 1,
      "num_hidden_layers": 1, "vocab_size": 101, "max_position_embeddings": 64,
      "tie_word_embeddings": true})");
  // Embedding 4848 B; norms 48 B, three; q, k and v 48 · 24, o 24 · 24, gate and up 80 · 24, down
  // 24 · 40 numbers of 2 B.
  const MemoryPlan plan = MemoryPlanOf(
      config,
      R"({"model": "m", "dataset": {"path": "d"}, "mode": "FULL", "precision": "HF_PARITY"})");
  EXPECT_EQ(plan.weights, 5120 + 3 * 512 + 2560 + 1536 + 4096 + 2048);
  EXPECT_EQ(plan.masters, 0);
}

}  // namespace
}  // namespace ftd
