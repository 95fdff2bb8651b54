// What a step asks of a GPU, counted on one that is none (fake_gpu.h): launches, copies, waits, and
// bytes.

#include <atomic>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "lib/plan/memory_plan.h"
#include "tests/support/temp_dir.h"
#include "tests/worker/engine/fake_gpu/fake_gpu.h"
#include "tests/worker/engine/tiny_model.h"
#include "worker/engine/train.h"

namespace ftd::engine {
namespace {

using ::ftd::testing::TinyShape;
using ::ftd::testing::TinySpec;

const std::atomic<bool> kNeverStop{false};

class FakeGpuCountsTest : public ::testing::Test {
 protected:
  FakeGpuCountsTest() { UseFakeGpu(true); }
  ~FakeGpuCountsTest() override {
    UseFakeGpu(false);
    SetFreeBytesOfFakeGpu(int64_t{80} << 30);
  }

  // What the first step of the spec asks for.
  static FakeGpuCounts FirstStep(const TrainSpec& spec, const std::filesystem::path& model) {
    const TokenizedRow row{{1, 2, 3}, {1, 2, 3}};
    Trainer trainer(spec, model, std::make_unique<RowsInMemory>(std::vector(8, row)), nullptr,
                    nullptr);
    ResetFakeGpuCounts();
    EXPECT_TRUE(trainer.Step(kNeverStop, [] {}).has_value());
    return CountsOfFakeGpu();
  }

  const TempDir dir_;
};

struct Mode16 {
  const char* name;
  Mode mode;
  Precision precision;
  double dropout;
  int64_t layer_launches, other_launches;  // of a micro-batch, at most
};

int64_t Launches(const FakeGpuCounts& counts) { return counts.operators + counts.kernels; }

TEST_F(FakeGpuCountsTest, AStepWaitsOnceAtItsEndAndCopiesOnceAMicroBatch) {
  // As wide as real models are: what goes by stretches of rows shows.
  ftd::testing::WriteTinyModel(dir_ / "2", 1, {.layers = 2, .inner = 8200});
  ftd::testing::WriteTinyModel(dir_ / "3", 1, {.layers = 3, .inner = 8200});
  constexpr Mode16 kModes[] = {
      {"lora", Mode::kLora, Precision::kFp32Master, 0, 58, 14},
      {"lora, dropout", Mode::kLora, Precision::kFp32Master, 0.1, 90, 9},
      {"qlora", Mode::kQlora, Precision::kFp32Master, 0, 72, 11},
      {"full", Mode::kFull, Precision::kFp32Master, 0, 31, 22},
      {"full, hf_parity", Mode::kFull, Precision::kHfParity, 0, 39, 23},
  };
  for (const Mode16& of : kModes) {
    SCOPED_TRACE(of.name);
    TrainSpec spec = TinySpec(of.mode, 2);
    spec.dtype = Dtype::kBfloat16;
    spec.precision = of.precision;
    spec.lora.dropout = of.dropout;
    const auto counts = [&](const char* model, int micro_batches) {
      spec.gradient_accumulation_steps = micro_batches;
      const FakeGpuCounts step = FirstStep(spec, dir_ / model);
      EXPECT_EQ(step.copies_in, micro_batches);
      EXPECT_EQ(step.copies_out, 1) << "the measurements";
      EXPECT_EQ(step.waits, 1) << "for the measurements";
      return step;
    };
    // A micro-batch is what another one adds to a step, a layer what another one adds to a
    // micro-batch.
    const int64_t two = Launches(counts("2", 2)) - Launches(counts("2", 1));
    const int64_t layer = Launches(counts("3", 2)) - Launches(counts("3", 1)) - two;
    std::printf("%-16s %3ld launches a layer, %2ld beside: %ld a micro-batch of 32 layers\n",
                of.name, layer, two - 2 * layer, two + 30 * layer);
    EXPECT_LE(layer, of.layer_launches);
    EXPECT_LE(two - 2 * layer, of.other_launches);
  }
}

struct MemoryCase {
  TinyShape model;
  Mode mode;
  Dtype dtype = Dtype::kBfloat16;
  Precision precision = Precision::kFp32Master;
  int rank = 4;
  double dropout = 0;
  std::vector<int> rows;  // tokens of each of the micro-batch's
  int micro_batches = 1;
  Checkpointing checkpointing = Checkpointing::kOff;
  double available = 0;  // for kAuto: of what no recomputation takes
};

// What a family has besides or instead of Llama's, by hand.
void SetTraits(const TinyShape& model, StepShape& shape) {
  const bool gemma = model.family == "gemma3_text", olmo = model.family == "olmo3";
  const bool delta = model.family == "qwen3_5_text";
  shape.qkv_bias = shape.o_bias = model.biases;
  shape.gate_up_bias = shape.down_bias = model.biases && model.family == "granite";
  shape.norms = {!olmo, gemma || olmo, !olmo, gemma || olmo};
  if (model.family == "qwen3" || gemma || delta) {
    shape.query_norms = model.heads;
    shape.key_norms = model.kv_heads;
  } else if (olmo) {
    shape.query_norms = shape.key_norms = 1;
  }
  shape.scaled_branches = model.family == "granite";
  shape.logits_softcapped = gemma;
  shape.rope_tables = gemma || olmo ? 2 : 1;
  shape.rope_element = olmo ? 4 : 2;
  shape.rotary_dim = shape.head_dim / (model.family == "phi3" ? 2 : delta ? 4 : 1);
  shape.attention_gate = delta;
}

// The layers with the gated delta rule: all but the last.
DeltaLayers DeltaLayersOf(const MemoryCase& c) {
  DeltaLayers delta;
  if (c.model.family != "qwen3_5_text") return delta;
  delta.at = std::vector<bool>(static_cast<size_t>(c.model.layers), true);
  delta.at.back() = false;
  delta.sizes = {2, 6, 8, 16, 4};
  delta.qkv_ranks = c.mode == Mode::kFull ? 0 : 4 * c.rank;
  delta.o_ranks = c.mode == Mode::kFull ? 0 : c.rank;
  delta.documents = static_cast<int64_t>(c.rows.size());
  for (const int tokens : c.rows) delta.chunks += (tokens + 63) / 64;
  return delta;
}

StepShape ShapeOf(const MemoryCase& c) {
  StepShape shape;
  shape.layers = c.model.layers;
  shape.hidden = c.model.hidden;
  shape.heads = c.model.heads;
  shape.kv_heads = c.model.kv_heads;
  shape.head_dim = c.model.hidden / c.model.heads;
  shape.inner = c.model.inner;
  shape.vocabulary = c.model.vocabulary;
  shape.element = 2;
  SetTraits(c.model, shape);
  shape.delta = DeltaLayersOf(c);
  shape.full = c.mode == Mode::kFull;
  shape.grad_element = c.precision == Precision::kHfParity ? 2 : 4;
  shape.dropout = c.dropout > 0;
  shape.norm_folds = c.dtype == Dtype::kBfloat16;
  shape.accumulated = c.micro_batches > 1;
  shape.rank = c.rank;
  const int64_t fused = c.model.family == "phi3" ? 1 : 0;  // one adapter where others have several
  if (!shape.full) {
    shape.ranks = {(3 - 2 * fused) * c.rank, c.rank, (2 - fused) * c.rank, c.rank};
  }
  for (const int tokens : c.rows) {
    shape.tokens += tokens;
    shape.labels += tokens - 1;
    shape.longest = std::max<int64_t>(shape.longest, tokens);
  }
  shape.documents = static_cast<int64_t>(c.rows.size());
  shape.distinct = 1;
  return shape;
}

BatchShape BatchOf(const MemoryCase& c) {
  const StepShape shape = ShapeOf(c);
  return {.tokens = shape.tokens,
          .labels = shape.labels,
          .documents = shape.documents,
          .distinct = shape.distinct,
          .longest = shape.longest,
          .chunks = shape.delta.chunks};
}

std::unique_ptr<RowSource> RowsOf(const MemoryCase& c) {
  std::vector<TokenizedRow> rows;
  for (int i = 0; i < c.micro_batches; ++i) {
    for (const int tokens : c.rows) {
      const std::vector<int32_t> ids(static_cast<size_t>(tokens), 7);
      rows.push_back({ids, ids});
    }
  }
  return std::make_unique<RowsInMemory>(std::move(rows));
}

TrainSpec SpecOf(const MemoryCase& c) {
  TrainSpec spec = TinySpec(c.mode, 1);
  spec.dtype = c.dtype;
  spec.precision = c.precision;
  spec.lora.rank = c.rank;
  spec.lora.dropout = c.dropout;
  spec.batch_size = static_cast<int32_t>(c.rows.size());
  spec.gradient_accumulation_steps = c.micro_batches;
  spec.gradient_checkpointing = c.checkpointing;
  return spec;
}

std::vector<MemoryCase> MemoryCases() {
  const TinyShape small{}, wide{.layers = 3, .hidden = 128, .inner = 96, .heads = 4, .kv_heads = 4},
      deep{.layers = 9, .hidden = 64, .inner = 160, .heads = 8, .kv_heads = 2},
      words{.layers = 2, .hidden = 64, .inner = 64, .heads = 2, .kv_heads = 1, .vocabulary = 3000},
      qwen3{.layers = 4,
            .hidden = 64,
            .inner = 96,
            .heads = 4,
            .kv_heads = 2,
            .family = "qwen3",
            .biases = true};
  std::vector<TinyShape> families = {qwen3, qwen3, qwen3, qwen3, qwen3};
  families[1].family = "gemma3_text";
  families[1].options = {{"final_logit_softcapping", 30.0}, {"sliding_window_pattern", 2}};
  families[2].family = "granite";
  families[2].options = {{"residual_multiplier", 0.5}};
  families[3].family = "olmo3";
  families[4].family = "phi3";
  families[4].biases = false;
  families[4].options = {{"partial_rotary_factor", 0.5}};
  using C = Checkpointing;
  std::vector<MemoryCase> cases;
  for (const Mode mode : {Mode::kLora, Mode::kQlora, Mode::kFull}) {
    cases.push_back({.model = small, .mode = mode, .rows = {12, 3}});
    cases.push_back(
        {.model = wide, .mode = mode, .rank = 16, .rows = {17}, .checkpointing = C::kOn});
    cases.push_back({.model = deep,
                     .mode = mode,
                     .rows = {9, 8},
                     .checkpointing = C::kAuto,
                     .available = 0.75});
    cases.push_back({.model = deep,
                     .mode = mode,
                     .rows = {11},
                     .micro_batches = 2,
                     .checkpointing = C::kAuto,
                     .available = 0.5});
    cases.push_back({.model = words, .mode = mode, .rows = {13}});
    for (const C checkpointing : {C::kOff, C::kOn}) {
      for (const TinyShape& model : families) {
        cases.push_back(
            {.model = model, .mode = mode, .rows = {14, 5}, .checkpointing = checkpointing});
      }
    }
  }
  for (const C checkpointing : {C::kOff, C::kOn}) {
    for (const Mode mode : {Mode::kLora, Mode::kFull}) {
      cases.push_back({.model = ftd::testing::DeltaShapeOf(3),
                       .mode = mode,
                       .rows = {70, 5},
                       .checkpointing = checkpointing});
    }
  }
  for (const double dropout : {0.1, 0.5})
    cases.push_back({.model = wide, .mode = Mode::kLora, .dropout = dropout, .rows = {11, 5}});
  for (const int micro_batches : {1, 2}) {
    for (const TinyShape& model : {wide, words}) {
      cases.push_back({.model = model,
                       .mode = Mode::kFull,
                       .precision = Precision::kHfParity,
                       .rows = {12},
                       .micro_batches = micro_batches});
    }
  }
  cases.push_back({.model = deep,
                   .mode = Mode::kLora,
                   .dtype = Dtype::kFloat16,
                   .rows = {10},
                   .checkpointing = C::kAuto,
                   .available = 1.5});
  return cases;
}

TEST_F(FakeGpuCountsTest, AStepTakesTheMemoryThatWasPredicted) {
  int number = 0, recomputed_in_part = 0;
  for (const MemoryCase& c : MemoryCases()) {
    SCOPED_TRACE("case " + std::to_string(number));
    const auto model = dir_ / std::to_string(number++);
    ftd::testing::WriteTinyModel(model, 1, c.model);
    const StepShape shape = ShapeOf(c);
    const int64_t all_kept = StepPeakBytes(shape, 0);
    const auto available = static_cast<int64_t>(c.available * static_cast<double>(all_kept));
    SetFreeBytesOfFakeGpu(FreeBytesFor(available));
    const int64_t others = CountsOfFakeGpu().bytes;
    Trainer trainer(SpecOf(c), model, RowsOf(c), nullptr, nullptr);
    ResetFakeGpuCounts();
    const int64_t before = CountsOfFakeGpu().bytes;
    ASSERT_TRUE(trainer.Step(kNeverStop, [] {}).has_value());
    const int64_t recomputed = trainer.recomputed_layers();
    const auto measured = static_cast<double>(CountsOfFakeGpu().peak_bytes - before);
    const auto predicted = static_cast<double>(StepPeakBytes(shape, recomputed));
    std::printf("%2d %-5s %ld of %d layers recomputed: predicted %.0f, measured %.0f, %+.2f %%\n",
                number - 1, std::string(ModeName(c.mode)).c_str(), recomputed, c.model.layers,
                predicted, measured, 100 * (predicted / measured - 1));
    EXPECT_NEAR(predicted / measured, 1, 0.05);
    const MemoryPlan plan =
        PlanMemory(*ReadModelConfig(model), SpecOf(c), /*on_gpu=*/true, BatchOf(c), recomputed);
    EXPECT_EQ(plan.step, StepPeakBytes(shape, recomputed)) << "the shape by hand";
    const auto kept = static_cast<double>(before - others);
    std::printf("         kept: predicted %ld, measured %.0f, %+.2f %%\n", plan.kept(), kept,
                100 * (static_cast<double>(plan.kept()) / kept - 1));
    EXPECT_NEAR(static_cast<double>(plan.kept()) / kept, 1, 0.01);
    if (c.checkpointing == Checkpointing::kAuto && recomputed < c.model.layers) {
      EXPECT_LE(measured, available);
    }
    recomputed_in_part += recomputed > 0 && recomputed < c.model.layers ? 1 : 0;
  }
  EXPECT_GE(number, 20);
  EXPECT_GE(recomputed_in_part, 3);
}

// Llama 3.1 8B, LoRA of rank 8, 8 × 2048 tokens: 94.5 kB of activations a token and layer, by hand.
TEST(StepMemoryTest, RecomputesNoMoreThanMemoryAsksFor) {
  StepShape llama8b{.layers = 32,
                    .hidden = 4096,
                    .heads = 32,
                    .kv_heads = 8,
                    .head_dim = 128,
                    .inner = 14336,
                    .vocabulary = 128256,
                    .element = 2};
  llama8b.ranks = {24, 8, 16, 8};
  llama8b.rank = 8;
  llama8b.tokens = llama8b.labels = 16384;
  llama8b.documents = 8;
  llama8b.longest = 2048;
  const int64_t kept = StepPeakBytes(llama8b, 0);
  EXPECT_NEAR(static_cast<double>(kept), 94.5e3 * 32 * 16384, 4e9);
  EXPECT_EQ(LayersToRecompute(llama8b, int64_t{68} << 30), 0);
  EXPECT_EQ(LayersToRecompute(llama8b, 0), 32);
  int64_t last = 32;
  for (int64_t gigabytes = 1; gigabytes < 64; ++gigabytes) {
    const int64_t available = gigabytes << 30, recomputed = LayersToRecompute(llama8b, available);
    EXPECT_LE(recomputed, last) << "more memory, more recomputed";
    if (recomputed < 32) {
      EXPECT_LE(StepPeakBytes(llama8b, recomputed), available);
    }
    last = recomputed;
  }
  EXPECT_EQ(last, 0);
}

// NVIDIA's 3B full script, 8 × 2048 tokens, on a card of 80 GB: 84.5e9 bytes can be used, of which
// weights, float32 masters, gradients and moments take 18 each of 3.21e9 parameters.
TEST(StepMemoryTest, FullFineTuningOf3BFits80GBByRecomputingAPart) {
  const StepShape llama3b{.layers = 28,
                          .hidden = 3072,
                          .heads = 24,
                          .kv_heads = 8,
                          .head_dim = 128,
                          .inner = 8192,
                          .vocabulary = 128256,
                          .element = 2,
                          .full = true,
                          .tokens = 16384,
                          .labels = 16384,
                          .documents = 8,
                          .distinct = 9000,
                          .longest = 2048};
  const auto free = static_cast<int64_t>(84.5e9 - 18 * 3.21e9);
  EXPECT_GT(StepPeakBytes(llama3b, 0), free) << "without recomputation it does not fit";
  const int64_t recomputed = LayersToRecompute(llama3b, free - (int64_t{2} << 30));
  std::printf("%ld of 28 layers\n", recomputed);
  EXPECT_GE(recomputed, 5);
  EXPECT_LE(recomputed, 12);
}

TEST_F(FakeGpuCountsTest, AResumedRunRecomputesWhatTheFirstDid) {
  const TinyShape deep{.layers = 6};
  ftd::testing::WriteTinyModel(dir_ / "model", 1, deep);
  const MemoryCase c{.model = deep,
                     .mode = Mode::kLora,
                     .rows = {9, 5},
                     .micro_batches = 3,
                     .checkpointing = Checkpointing::kAuto};
  TrainSpec spec = SpecOf(c);
  spec.gradient_accumulation_steps = 1;
  spec.max_steps = 3;
  SetFreeBytesOfFakeGpu(FreeBytesFor(StepPeakBytes(ShapeOf(c), 0)));
  Trainer first(spec, dir_ / "model", RowsOf(c), nullptr, nullptr);
  first.Step(kNeverStop, [] {});
  ASSERT_GT(first.recomputed_layers(), 0);
  const TempDir state;
  first.SaveState(state.path());
  const auto resumed_with = [&](int64_t free_bytes) {
    SetFreeBytesOfFakeGpu(free_bytes);
    Trainer second(spec, dir_ / "model", RowsOf(c), nullptr, nullptr);
    second.LoadState(state.path(), 1);
    second.Step(kNeverStop, [] {});
    return second.recomputed_layers();
  };
  EXPECT_EQ(resumed_with(int64_t{80} << 30), first.recomputed_layers());
  EXPECT_EQ(resumed_with(FreeBytesFor(1)), deep.layers) << "a lesser card";
  std::filesystem::remove(state / "memory_budget.json");
  EXPECT_EQ(resumed_with(int64_t{80} << 30), 0) << "a state of an older version";
}

}  // namespace
}  // namespace ftd::engine
