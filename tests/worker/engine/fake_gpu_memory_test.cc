// Runs whose device has less memory than they want (fake_gpu.h): they take less of it at a time,
// and come to the same losses.

#include <algorithm>
#include <atomic>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"
#include "tests/worker/engine/fake_gpu/fake_gpu.h"
#include "tests/worker/engine/tiny_model.h"
#include "worker/engine/train.h"

namespace ftd::engine {
namespace {

constexpr int kSteps = 3, kLayers = 3;
const std::atomic<bool> kNeverStopping{false};

// What a run is compared by, and what it took.
struct Course {
  std::vector<double> numbers;  // of each step: loss, gradient norm, entropy, accuracy
  std::vector<std::string> notes;
  int64_t kept_bytes = 0, peak_bytes = 0;
  int64_t parts = 1, recomputed = 0;
  StepFit fit;  // as it was foreseen
};

void TakeStep(Trainer& trainer, Course& course) {
  const StepResult step = *trainer.Step(kNeverStopping, [] {});
  course.numbers.insert(course.numbers.end(),
                        {step.loss, step.grad_norm, step.entropy, step.mean_token_accuracy});
  course.notes.insert(course.notes.end(), step.memory_notes.begin(), step.memory_notes.end());
}

class FakeGpuMemoryTest : public ::testing::Test {
 protected:
  FakeGpuMemoryTest() {
    UseFakeGpu(true);
    ftd::testing::WriteTinyModel(dir_.path(), 1, {.layers = kLayers});
  }
  ~FakeGpuMemoryTest() override {
    Unlimited();
    UseFakeGpu(false);
  }

  static void Unlimited() {
    SetMemoryOfFakeGpu(std::numeric_limits<int64_t>::max());
    SetFreeBytesOfFakeGpu(int64_t{80} << 30);
  }

  static TrainSpec AutoSpec(int batch_size, Mode mode = Mode::kLora) {
    TrainSpec spec = Spec(batch_size, mode);
    spec.auto_batch_size = true;
    spec.gradient_checkpointing = Checkpointing::kAuto;
    return spec;
  }

  static TrainSpec Spec(int batch_size, Mode mode = Mode::kLora) {
    TrainSpec spec = ftd::testing::TinySpec(mode, kSteps);
    spec.batch_size = batch_size;
    spec.gradient_accumulation_steps = 2;
    spec.gradient_checkpointing = Checkpointing::kOff;
    spec.learning_rate = 1e-4;  // AdamW makes large steps of the last digits of small gradients
    return spec;
  }

  Trainer TrainerOf(const TrainSpec& spec) const {
    return {spec, dir_.path(), Rows(3), Rows(4), nullptr};
  }

  // Equally long, so that half of them take half the memory.
  static std::unique_ptr<RowSource> Rows(uint32_t seed) {
    std::vector<TokenizedRow> rows = ftd::testing::RandomRows(9, 20, seed);
    for (TokenizedRow& row : rows) {
      row.input_ids.resize(20, static_cast<int32_t>(row.input_ids.size()));
      row.labels = row.input_ids;
    }
    return std::make_unique<RowsInMemory>(std::move(rows));
  }

  // From now on the device has `more` bytes left, and says so.
  static void Limit(int64_t more) {
    SetMemoryOfFakeGpu(CountsOfFakeGpu().bytes + more);
    SetFreeBytesOfFakeGpu(FreeBytesFor(more));
  }

  // A run that may take `more` bytes than the model and its state; -1: as many as it likes.
  Course Run(const TrainSpec& spec, int64_t more = -1) const {
    Unlimited();
    Trainer trainer = TrainerOf(spec);
    Course course{.kept_bytes = CountsOfFakeGpu().bytes};
    if (more >= 0) Limit(more);
    if (spec.auto_batch_size) course.fit = trainer.FitIntoMemory({});
    ResetFakeGpuCounts();
    for (int step = 0; step < kSteps; ++step) TakeStep(trainer, course);
    course.peak_bytes = CountsOfFakeGpu().peak_bytes - course.kept_bytes;
    course.parts = trainer.micro_batch_parts();
    course.recomputed = trainer.recomputed_layers();
    return course;
  }

  static void ExpectSame(const std::vector<double>& actual, const std::vector<double>& expected) {
    ASSERT_EQ(actual.size(), expected.size());
    for (size_t i = 0; i < actual.size(); ++i)
      EXPECT_NEAR(actual[i], expected[i], 1e-6 * std::max(1.0, expected[i]));
  }

  const TempDir dir_;
};

class FakeGpuMemoryOfModesTest : public FakeGpuMemoryTest,
                                 public ::testing::WithParamInterface<Mode> {};

TEST_P(FakeGpuMemoryOfModesTest, MicroBatchesAreSplit) {
  const TrainSpec spec = Spec(4, GetParam());
  const Course whole = Run(spec);
  EXPECT_EQ(whole.parts, 1);
  EXPECT_TRUE(whole.notes.empty());
  for (const double share : {0.7, 0.45}) {
    const auto limit = static_cast<int64_t>(share * static_cast<double>(whole.peak_bytes));
    const Course split = Run(spec, limit);
    ExpectSame(split.numbers, whole.numbers);
    EXPECT_LE(split.peak_bytes, limit);
    EXPECT_EQ(split.parts, share > 0.5 ? 2 : 4);
    ASSERT_FALSE(split.notes.empty());
    EXPECT_NE(split.notes.back().find(std::to_string(split.parts) + " parts"), std::string::npos);
    EXPECT_EQ(split.recomputed, 0);
  }
}

// Ahead of the first step, so no step is tried in vain, and none is reported.
TEST_P(FakeGpuMemoryOfModesTest, WithAutoTheyAreSplitAhead) {
  const TrainSpec spec = AutoSpec(4, GetParam());
  const Course whole = Run(spec);
  EXPECT_EQ(whole.fit, StepFit());
  EXPECT_EQ(whole.parts, 1);
  for (const double share : {0.7, 0.45}) {
    const auto limit = static_cast<int64_t>(share * static_cast<double>(whole.peak_bytes));
    const Course split = Run(spec, limit);
    ExpectSame(split.numbers, whole.numbers);
    EXPECT_LE(split.peak_bytes, limit);
    EXPECT_EQ(split.fit, StepFit{.parts = share > 0.5 ? 2 : 4});
    EXPECT_EQ(split.parts, split.fit.parts);
    EXPECT_EQ(split.recomputed, 0);
    EXPECT_TRUE(split.notes.empty());
  }
}

TEST_F(FakeGpuMemoryTest, WithAutoOnlyOfOneRowAreLayersRecomputed) {
  const Course whole = Run(AutoSpec(2)), row = Run(Spec(1));
  const Course split = Run(AutoSpec(2), row.peak_bytes - 1);
  ExpectSame(split.numbers, whole.numbers);
  EXPECT_LT(split.peak_bytes, row.peak_bytes);
  EXPECT_EQ(split.parts, 2);
  EXPECT_GT(split.recomputed, 0);
  EXPECT_EQ(split.fit, (StepFit{.parts = 2, .recomputed = split.recomputed}));
  EXPECT_TRUE(split.notes.empty());
}

// It repeats the parts of the first run, to the bit, on a device that has more room or less.
TEST_F(FakeGpuMemoryTest, WithAutoAResumedRunRepeatsTheChoice) {
  const Course whole = Run(AutoSpec(4));
  Unlimited();
  Course course;
  const TempDir state;
  Trainer first = TrainerOf(AutoSpec(4));
  Limit(whole.peak_bytes * 7 / 10);
  EXPECT_EQ(first.FitIntoMemory({}).parts, 2);
  TakeStep(first, course);
  TakeStep(first, course);
  first.SaveState(state.path());
  TakeStep(first, course);
  const std::vector<double> last(course.numbers.end() - 4, course.numbers.end());
  for (const double share : {2.0, 0.45}) {
    Unlimited();
    Trainer second = TrainerOf(AutoSpec(4));
    SetFreeBytesOfFakeGpu(
        FreeBytesFor(static_cast<int64_t>(share * static_cast<double>(whole.peak_bytes))));
    EXPECT_EQ(second.FitIntoMemory({}).parts, share > 1 ? 1 : 4);
    second.LoadState(state.path(), 2);
    EXPECT_EQ(second.micro_batch_parts(), 2);
    Course resumed;
    TakeStep(second, resumed);
    EXPECT_EQ(resumed.numbers, last) << share;
  }
}

// Whatever is free, a job takes no more than it may have.
TEST_F(FakeGpuMemoryTest, WithAutoTheDaemonsLimitCounts) {
  const Course whole = Run(AutoSpec(4));
  Unlimited();
  Trainer trainer = TrainerOf(AutoSpec(4));
  EXPECT_EQ(trainer.FitIntoMemory({.device_bytes = whole.kept_bytes + 2 * whole.peak_bytes}),
            StepFit());
  EXPECT_EQ(trainer.FitIntoMemory({.device_bytes = whole.kept_bytes + whole.peak_bytes * 7 / 10}),
            StepFit{.parts = 2});
  EXPECT_EQ(trainer.FitIntoMemory({.device_bytes = 1}),
            (StepFit{.parts = 4, .recomputed = kLayers}));
}

TEST_F(FakeGpuMemoryTest, OfOneRowAllLayersAreRecomputed) {
  const Course whole = Run(Spec(2));
  TrainSpec least = Spec(1);
  least.gradient_checkpointing = Checkpointing::kOn;
  constexpr int64_t kSums = 4096;  // of more parts in a step
  const Course split = Run(Spec(2), Run(least).peak_bytes + kSums);
  ExpectSame(split.numbers, whole.numbers);
  EXPECT_EQ(split.parts, 2);
  EXPECT_EQ(split.recomputed, kLayers);
  EXPECT_NE(split.notes.back().find("recomputed"), std::string::npos);
}

TEST_F(FakeGpuMemoryTest, WhatNothingHelpsFails) {
  try {
    Run(Spec(2), 1000);
    FAIL() << "a step without memory";
  } catch (const EngineError& error) {
    EXPECT_EQ(error.kind(), EngineError::Kind::kOutOfMemory);
  }
}

TEST_F(FakeGpuMemoryTest, AResumedRunKeepsToIt) {
  const Course whole = Run(Spec(4));
  Course course;
  const TempDir state;
  Trainer first = TrainerOf(Spec(4));
  SetMemoryOfFakeGpu(CountsOfFakeGpu().bytes + whole.peak_bytes * 7 / 10);
  TakeStep(first, course);
  TakeStep(first, course);
  first.SaveState(state.path());
  EXPECT_EQ(course.notes.size(), 1u);
  Unlimited();
  Trainer second = TrainerOf(Spec(4));
  second.LoadState(state.path(), 2);
  EXPECT_EQ(second.micro_batch_parts(), 2);
  TakeStep(first, course);
  Course resumed;
  TakeStep(second, resumed);
  EXPECT_EQ(resumed.numbers, std::vector<double>(course.numbers.end() - 4, course.numbers.end()))
      << "to the bit";
}

TEST_F(FakeGpuMemoryTest, AnEvaluationIsSplitToo) {
  Trainer trainer = TrainerOf(Spec(4));
  const auto evaluate = [&] { return trainer.Evaluate(kNeverStopping, [](int64_t) {})->loss; };
  ResetFakeGpuCounts();
  const int64_t before = CountsOfFakeGpu().bytes;
  const double loss = evaluate();
  SetMemoryOfFakeGpu(before + (CountsOfFakeGpu().peak_bytes - before) * 7 / 10);
  EXPECT_NEAR(evaluate(), loss, 1e-6);
  EXPECT_EQ(trainer.micro_batch_parts(), 2);
}

INSTANTIATE_TEST_SUITE_P(Modes, FakeGpuMemoryOfModesTest,
                         ::testing::Values(Mode::kLora, Mode::kQlora, Mode::kFull),
                         [](const auto& test) { return std::string(ModeName(test.param)); });

}  // namespace
}  // namespace ftd::engine
