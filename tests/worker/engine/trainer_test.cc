// The state between two steps: resuming, stopping, recomputing. Equality with other software is
// tests/parity's.

#include <atomic>
#include <fstream>

#include "gtest/gtest.h"
#include "lib/base/file.h"
#include "lib/base/sha256.h"
#include "lib/model/safetensors_writer.h"
#include "tests/support/temp_dir.h"
#include "tests/worker/engine/tiny_model.h"
#include "worker/engine/train.h"

namespace ftd::engine {
namespace {

using ::ftd::testing::RandomRows;
using ::ftd::testing::TinySpec;

const std::atomic<bool> kNeverStop{false};

std::unique_ptr<RowSource> InMemory(std::vector<TokenizedRow> rows) {
  return std::make_unique<RowsInMemory>(std::move(rows));
}

class TrainerTest : public ::testing::TestWithParam<Mode> {
 protected:
  explicit TrainerTest(const ftd::testing::TinyShape& shape = {}) {
    ftd::testing::WriteTinyModel(dir_ / "model", 1, shape);
  }

  Trainer Make(const TrainSpec& spec) {
    return {spec, dir_ / "model", InMemory(RandomRows(11, 40, 7)), nullptr, nullptr};
  }

  static std::vector<double> Steps(Trainer& trainer, int count) {
    std::vector<double> losses;
    losses.reserve(static_cast<size_t>(count));
    for (int i = 0; i < count; ++i) losses.push_back(trainer.Step(kNeverStop, [] {})->loss);
    return losses;
  }

  // sha256 of the weights that the trainer would hand out.
  std::string Weights(const Trainer& trainer) {
    const TempDir dir;
    trainer.ExportWeights(dir.path());
    const char* name = std::filesystem::exists(dir / "model.safetensors")
                           ? "model.safetensors"
                           : "adapter_model.safetensors";
    return Sha256File(dir / name).value();
  }

  // A run that is saved after `cut` steps and resumed, against `unbroken`, whose losses were
  // `expected`.
  void ExpectResumedEquals(const Trainer& unbroken, const std::vector<double>& expected,
                           const TrainSpec& spec, int cut) {
    const TempDir state;
    Trainer first = Make(spec);
    std::vector<double> losses = Steps(first, cut);
    first.SaveState(state.path());
    Trainer second = Make(spec);
    second.LoadState(state.path(), cut);
    for (double loss : Steps(second, static_cast<int>(expected.size()) - cut))
      losses.push_back(loss);
    EXPECT_EQ(losses, expected);
    EXPECT_EQ(Weights(second), Weights(unbroken));
  }

  // So many steps with gradient checkpointing, against as many without.
  void ExpectRecomputedEquals(TrainSpec spec, int steps) {
    Trainer keeping = Make(spec);
    spec.gradient_checkpointing = Checkpointing::kOn;
    Trainer recomputing = Make(spec);
    EXPECT_EQ(Steps(recomputing, steps), Steps(keeping, steps));
    EXPECT_EQ(Weights(recomputing), Weights(keeping));
  }

  TempDir dir_;
};

// The hard settings at once: dropout, accumulation, an epoch that ends with a part of a step, a new
// order each epoch.
TrainSpec HardSpec(Mode mode) {
  TrainSpec spec = TinySpec(mode, 12);
  spec.gradient_accumulation_steps = 2;
  spec.shuffle = true;
  if (mode != Mode::kFull) spec.lora.dropout = 0.3;
  return spec;
}

TEST_P(TrainerTest, ResumedRunEqualsUnbrokenRunBitForBit) {
  TrainSpec spec = HardSpec(GetParam());
  for (const int tokens : {0, 60}) {
    spec.batch_tokens = tokens;
    Trainer unbroken = Make(spec);
    std::vector<double> expected = Steps(unbroken, 12);
    for (int cut : {1, 3, 7, 11}) {
      SCOPED_TRACE(::testing::Message() << tokens << " tokens, cut after step " << cut);
      ExpectResumedEquals(unbroken, expected, spec, cut);
    }
  }
}

TEST_P(TrainerTest, StoppedStepLeavesNoTrace) {
  const TrainSpec spec = HardSpec(GetParam());
  Trainer undisturbed = Make(spec), disturbed = Make(spec);
  std::atomic<bool> stop{false};
  for (int i = 0; i < 3; ++i) {
    stop = false;
    // The second micro-batch finds the flag set by the first one's beat.
    EXPECT_FALSE(disturbed.Step(stop, [&] { stop = true; }).has_value());
    EXPECT_EQ(disturbed.steps_taken(), i);
    EXPECT_EQ(Steps(disturbed, 1), Steps(undisturbed, 1));
  }
  EXPECT_EQ(Weights(disturbed), Weights(undisturbed));
}

TEST_P(TrainerTest, GradientCheckpointingChangesNothing) {
  ExpectRecomputedEquals(HardSpec(GetParam()), 6);
}

class DeltaTrainerTest : public TrainerTest {
 protected:
  DeltaTrainerTest() : TrainerTest(ftd::testing::DeltaShapeOf(2)) {}
};

TEST_P(DeltaTrainerTest, ResumedRunEqualsUnbrokenRunBitForBit) {
  const TrainSpec spec = HardSpec(GetParam());
  Trainer unbroken = Make(spec);
  const std::vector<double> expected = Steps(unbroken, 5);
  ExpectResumedEquals(unbroken, expected, spec, 2);
}

TEST_P(DeltaTrainerTest, GradientCheckpointingChangesNothing) {
  ExpectRecomputedEquals(HardSpec(GetParam()), 4);
}

TEST_P(TrainerTest, AccumulationEqualsOneLargeBatch) {
  TrainSpec spec = TinySpec(GetParam(), 5);
  spec.batch_size = 4;
  Trainer large = Make(spec);
  spec.batch_size = 1;
  spec.gradient_accumulation_steps = 4;
  Trainer accumulated = Make(spec);
  for (int i = 0; i < 2; ++i) {  // the third step ends the epoch of eleven rows in both
    const auto a = large.Step(kNeverStop, [] {}), b = accumulated.Step(kNeverStop, [] {});
    EXPECT_NEAR(a->loss, b->loss, 1e-5);
    EXPECT_NEAR(a->grad_norm, b->grad_norm, 1e-4 * a->grad_norm);
    EXPECT_EQ(a->tokens, b->tokens);
  }
}

TEST_P(TrainerTest, LearnsOneBatchByHeart) {
  TrainSpec spec = TinySpec(GetParam(), 60);
  Trainer trainer(spec, dir_ / "model", InMemory(RandomRows(2, 12, 3)), nullptr, nullptr);
  const std::vector<double> losses = Steps(trainer, 60);
  EXPECT_LT(losses.back(), 0.5 * losses.front());
}

TEST_P(TrainerTest, LowPrecisionStaysNearFloat32) {
  TrainSpec spec = TinySpec(GetParam(), 4);
  spec.learning_rate = 1e-4;
  Trainer exact = Make(spec);
  const std::vector<double> expected = Steps(exact, 4);
  for (const auto& [dtype, tolerance] :
       {std::pair{Dtype::kBfloat16, 0.03}, {Dtype::kFloat16, 0.004}}) {
    SCOPED_TRACE(DtypeName(dtype));
    spec.dtype = dtype;
    Trainer rounded = Make(spec);
    const std::vector<double> losses = Steps(rounded, 4);
    for (size_t i = 0; i < losses.size(); ++i)
      EXPECT_NEAR(losses[i], expected[i], tolerance * expected[i]);
  }
}

INSTANTIATE_TEST_SUITE_P(Modes, TrainerTest,
                         ::testing::Values(Mode::kLora, Mode::kFull, Mode::kQlora),
                         [](const auto& info) { return std::string(ModeName(info.param)); });

INSTANTIATE_TEST_SUITE_P(Modes, DeltaTrainerTest,
                         ::testing::Values(Mode::kLora, Mode::kFull, Mode::kQlora),
                         [](const auto& info) { return std::string(ModeName(info.param)); });

using PrecisionTest = TrainerTest;

TEST_P(PrecisionTest, HfParityKeepsNoMasterAndResumesBitForBit) {
  TrainSpec spec = TinySpec(GetParam(), 6);
  spec.dtype = Dtype::kBfloat16;
  Trainer with_masters = Make(spec);
  const std::vector<double> other = Steps(with_masters, 6);
  spec.precision = Precision::kHfParity;
  Trainer unbroken = Make(spec);
  std::vector<double> expected = Steps(unbroken, 6);
  EXPECT_NE(expected, other);
  const TempDir state;
  Trainer first = Make(spec);
  std::vector<double> losses = Steps(first, 3);
  first.SaveState(state.path());
  for (const char* file : {"model.safetensors", "optimizer.safetensors"}) {
    const auto saved = SafetensorsFile::Open(state / file).value();
    for (const auto& [name, view] : saved.tensors())
      EXPECT_EQ(view.dtype, TensorDtype::kBF16) << name;
  }
  Trainer second = Make(spec);
  second.LoadState(state.path(), 3);
  for (double loss : Steps(second, 3)) losses.push_back(loss);
  EXPECT_EQ(losses, expected);
  EXPECT_EQ(Weights(second), Weights(unbroken));
}

INSTANTIATE_TEST_SUITE_P(Full, PrecisionTest, ::testing::Values(Mode::kFull),
                         [](const auto& info) { return std::string(ModeName(info.param)); });

TEST(TrainerInputTest, DamagedStateNamesTheTensor) {
  const TempDir dir;
  ftd::testing::WriteTinyModel(dir / "model", 1);
  Trainer trainer(TinySpec(Mode::kLora, 2), dir / "model", InMemory(RandomRows(4, 10, 1)), nullptr,
                  nullptr);
  ASSERT_TRUE(WriteSafetensors(dir / "adapter_model.safetensors", {}, {}).ok());
  try {
    trainer.LoadState(dir.path(), 1);
    FAIL() << "an empty state was taken";
  } catch (const EngineError& error) {
    EXPECT_EQ(error.kind(), EngineError::Kind::kModel);
    EXPECT_NE(std::string(error.what()).find("q_proj.lora_A.weight is missing"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace ftd::engine
