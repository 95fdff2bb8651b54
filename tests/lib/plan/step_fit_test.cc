// Llama 3.2 1B in bfloat16 on a GPU.
#include "lib/plan/step_fit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "lib/plan/step_memory.h"
#include "lib/plan/step_shape.h"
#include "tests/lib/plan/plan_fixtures.h"

namespace ftd {
namespace {

constexpr int64_t kLayersOf1B = 16;

ModelConfig Llama1B() {
  return *ParseModelConfig(R"({"model_type": "llama", "hidden_size": 2048,
      "intermediate_size": 8192, "num_attention_heads": 32, "num_key_value_heads": 8,
      "num_hidden_layers": 16, "vocab_size": 128256, "max_position_embeddings": 131072,
      "rope_theta": 500000.0, "tie_word_embeddings": true})");
}

TrainSpec SpecOf(int batch_size, Checkpointing checkpointing = Checkpointing::kAuto) {
  TrainSpec spec;
  spec.dtype = Dtype::kBfloat16;
  spec.batch_size = batch_size;
  spec.shuffle = false;
  spec.gradient_checkpointing = checkpointing;
  spec.lora.target_modules = TargetModulesOf(*Llama1B().family);
  return spec;
}

// The step of a part of so many rows of so many tokens each, by hand.
StepShape PartShape(const TrainSpec& spec, int64_t rows, int64_t tokens) {
  StepShape shape = StepShapeOf(Llama1B(), spec, /*on_gpu=*/true);
  SetBatch({.tokens = rows * tokens,
            .labels = rows * (tokens - 1),
            .documents = rows,
            .distinct = std::min<int64_t>(rows * tokens, 128256),
            .longest = tokens,
            .chunks = rows * ((tokens + 63) / 64)},
           /*accumulated=*/rows < spec.batch_size || spec.gradient_accumulation_steps > 1, shape);
  return shape;
}

// The least room in which the step fits with so many layers recomputed.
int64_t RoomFor(const StepShape& shape, int64_t recomputed) {
  int64_t low = 0, high = int64_t{1} << 40;
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    (StepFits(shape, recomputed, middle) ? high : low) = middle;
  }
  return high;
}

StepFit Fit(const TrainSpec& spec, const std::vector<int64_t>& lengths, int64_t room) {
  return *FitStep(Llama1B(), spec, RowsOf(lengths), /*on_gpu=*/true, room);
}

TEST(PartOfTest, PartsAreWholeAndAsGoodAsEqual) {
  for (int64_t rows = 1; rows <= 20; ++rows) {
    for (int64_t parts = 1; parts <= rows; ++parts) {
      int64_t end = 0, least = rows, most = 0;
      for (int64_t part = 0; part < parts; ++part) {
        const RowRange range = PartOf(rows, part, parts);
        EXPECT_EQ(range.begin, end);
        end = range.end;
        least = std::min(least, range.end - range.begin);
        most = std::max(most, range.end - range.begin);
      }
      EXPECT_EQ(end, rows);
      EXPECT_GE(least, 1);
      EXPECT_LE(most - least, 1);
    }
  }
}

TEST(StepFitTest, TheFewestPartsThatFit) {
  const TrainSpec spec = SpecOf(8);
  const std::vector<int64_t> lengths(20, 1000);  // the last micro-batch has four rows
  int64_t parts = 1;
  for (const int64_t rows : {8, 4, 2, 1}) {
    const int64_t room = RoomFor(PartShape(spec, rows, 1000), 0);
    EXPECT_EQ(Fit(spec, lengths, room), (StepFit{.parts = parts})) << rows;
    parts *= 2;
    EXPECT_EQ(Fit(spec, lengths, room - 1).parts, std::min<int64_t>(parts, 8)) << rows;
  }
}

TEST(StepFitTest, PartsAreNoMoreThanRows) {
  const TrainSpec spec = SpecOf(6);
  const int64_t room = RoomFor(PartShape(spec, 1, 1000), 0);
  EXPECT_EQ(Fit(spec, std::vector<int64_t>(12, 1000), room), (StepFit{.parts = 6}));
  // A micro-batch of three is the largest that there is.
  EXPECT_EQ(Fit(spec, std::vector<int64_t>(3, 1000), room), (StepFit{.parts = 4}));
}

TEST(StepFitTest, OfOneRowAsManyLayersAsItTakes) {
  for (const int64_t recomputed : {int64_t{1}, int64_t{9}, kLayersOf1B}) {
    const TrainSpec spec = SpecOf(2);
    const StepShape row = PartShape(spec, 1, 3000);
    const int64_t room = RoomFor(row, recomputed);
    ASSERT_LT(room, RoomFor(row, recomputed - 1));
    EXPECT_EQ(Fit(spec, {3000, 3000}, room), (StepFit{.parts = 2, .recomputed = recomputed}));
    EXPECT_EQ(Fit(SpecOf(2, Checkpointing::kOff), {3000, 3000}, room), (StepFit{.parts = 2}));
  }
  EXPECT_EQ(Fit(SpecOf(2), {3000, 3000}, 1), (StepFit{.parts = 2, .recomputed = kLayersOf1B}));
}

TEST(StepFitTest, WithAllLayersRecomputedPartsAreFewer) {
  const int64_t room = RoomFor(PartShape(SpecOf(4), 1, 2000), 0);
  EXPECT_EQ(Fit(SpecOf(4), {2000, 2000, 2000, 2000}, room), (StepFit{.parts = 4}));
  EXPECT_EQ(Fit(SpecOf(4, Checkpointing::kOn), {2000, 2000, 2000, 2000}, room),
            (StepFit{.parts = 1, .recomputed = kLayersOf1B}));
}

// What counts are rows that are computed together, not the longest of all.
TEST(StepFitTest, MicroBatchesAreThoseOfThePlan) {
  const TrainSpec spec = SpecOf(2);
  const int64_t room = RoomFor(PartShape(spec, 2, 1200), 0);
  EXPECT_EQ(Fit(spec, {2000, 100, 100, 2000}, room).parts, 1);
  EXPECT_EQ(Fit(spec, {100, 2000, 2000, 100}, room).parts, 1);
  EXPECT_EQ(Fit(spec, {100, 100, 2000, 2000}, room).parts, 2);
  TrainSpec first = spec;
  first.max_steps = 1;
  EXPECT_EQ(Fit(first, {100, 100, 2000, 2000}, room).parts, 1) << "it never gets there";
}

}  // namespace
}  // namespace ftd
