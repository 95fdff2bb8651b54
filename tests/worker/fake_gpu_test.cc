// Whole training runs on the GPU's ways through the engine, against the CPU's. See fake_gpu.h for
// what that shows.

#include <ATen/ATen.h>

#include <atomic>
#include <cmath>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "artifacts/safetensors.h"
#include "artifacts/sha256.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"
#include "tests/worker/fake_gpu/fake_gpu.h"
#include "tests/worker/tiny_model.h"
#include "worker/engine/tensor_io.h"
#include "worker/engine/train.h"

namespace ftd::engine {
namespace {

using ::ftd::testing::RandomRows;
using ::ftd::testing::TinySpec;

constexpr int kSteps = 4;
const std::atomic<bool> kNeverStop{false};

std::unique_ptr<RowSource> Rows(uint32_t seed) {
  return std::make_unique<RowsInMemory>(RandomRows(5, 9, seed));
}

class FakeGpuTest : public ::testing::TestWithParam<std::tuple<Mode, Dtype>> {
 protected:
  FakeGpuTest() { ftd::testing::WriteTinyModel(dir_ / "model", 1); }
  ~FakeGpuTest() override { UseFakeGpu(false); }

  TrainSpec Spec() const {
    TrainSpec spec = TinySpec(std::get<0>(GetParam()), kSteps);
    spec.dtype = std::get<1>(GetParam());
    spec.gradient_accumulation_steps = 2;
    if (spec.mode != Mode::kFull) spec.lora.dropout = 0.2;
    return spec;
  }

  Trainer Make(const TrainSpec& spec) const {
    return {spec, dir_ / "model", Rows(7), Rows(8), nullptr};
  }

  // Losses and gradient norms of the steps that are left, then the evaluation's loss.
  static std::vector<double> Finish(Trainer& trainer) {
    std::vector<double> numbers;
    while (trainer.steps_taken() < kSteps) {
      const StepResult step = *trainer.Step(kNeverStop, [] {});
      numbers.insert(numbers.end(), {step.loss, step.grad_norm, step.entropy});
    }
    numbers.push_back(trainer.Evaluate(kNeverStop, [](int64_t) {})->loss);
    return numbers;
  }

  // The result's file.
  std::filesystem::path Export(const Trainer& trainer, const std::string& name) const {
    const auto dir = dir_ / name;
    std::filesystem::create_directories(dir);
    trainer.ExportWeights(dir);
    return dir / (std::get<0>(GetParam()) == Mode::kFull ? "model.safetensors"
                                                         : "adapter_model.safetensors");
  }

  void ExpectEqualsTheCpu(const TrainSpec& spec, const std::string& name) const {
    Trainer host = Make(spec);
    const std::vector<double> expected = Finish(host);
    UseFakeGpu(true);
    Trainer gpu = Make(spec);
    const std::vector<double> actual = Finish(gpu);
    UseFakeGpu(false);
    const double tolerance = spec.dtype == Dtype::kFloat32 ? 1e-5 : 3e-2;
    ASSERT_EQ(actual.size(), expected.size());
    for (size_t i = 0; i < actual.size(); ++i)
      EXPECT_NEAR(actual[i], expected[i], tolerance * expected[i]) << i;

    const auto host_file = SafetensorsFile::Open(Export(host, name + "-host")).value();
    const auto gpu_file = SafetensorsFile::Open(Export(gpu, name + "-gpu")).value();
    ASSERT_EQ(gpu_file.tensors().size(), host_file.tensors().size());
    for (const auto& [tensor, view] : host_file.tensors()) {
      const at::Tensor a = ViewAsTensor(view), b = ViewAsTensor(gpu_file.tensors().at(tensor));
      // Adam's first steps have the size of the learning rate however small a gradient is.
      const double distance = ((a - b).norm() / a.norm()).item<double>();
      EXPECT_LE(distance, spec.dtype == Dtype::kFloat32 ? 1e-3 : 0.2) << tensor;
    }
  }

  TempDir dir_;
};

TEST_P(FakeGpuTest, EqualsTheCpu) { ExpectEqualsTheCpu(Spec(), "plain"); }

TEST_P(FakeGpuTest, EqualsTheCpuWithGradientCheckpointing) {
  TrainSpec spec = Spec();
  spec.gradient_checkpointing = Checkpointing::kOn;
  ExpectEqualsTheCpu(spec, "checkpointing");
}

TEST_P(FakeGpuTest, EqualsTheCpuWithoutMasters) {
  TrainSpec spec = Spec();
  if (spec.mode != Mode::kFull) GTEST_SKIP() << "adapters have them always";
  if (spec.dtype == Dtype::kFloat16) GTEST_SKIP() << "Adam's ε is 0 there: it diverges anywhere";
  spec.precision = Precision::kHfParity;
  ExpectEqualsTheCpu(spec, "hf-parity");
}

TEST_P(FakeGpuTest, ResumedRunHasTheUnbrokenRunsBits) {
  UseFakeGpu(true);
  const TrainSpec spec = Spec();
  Trainer unbroken = Make(spec);
  const std::vector<double> expected = Finish(unbroken);
  Trainer first = Make(spec);
  for (int i = 0; i < 2; ++i) first.Step(kNeverStop, [] {});
  const TempDir state;
  first.SaveState(state.path());
  Trainer second = Make(spec);
  second.LoadState(state.path(), 2);
  const std::vector<double> rest = Finish(second);
  EXPECT_EQ(rest, std::vector<double>(expected.end() - static_cast<int64_t>(rest.size()),
                                      expected.end()));
  EXPECT_EQ(Sha256File(Export(second, "resumed")).value(),
            Sha256File(Export(unbroken, "unbroken")).value());
}

INSTANTIATE_TEST_SUITE_P(
    Modes, FakeGpuTest,
    ::testing::Combine(::testing::Values(Mode::kLora, Mode::kFull, Mode::kQlora),
                       ::testing::Values(Dtype::kFloat32, Dtype::kBfloat16, Dtype::kFloat16)),
    [](const auto& info) {
      return std::string(ModeName(std::get<0>(info.param))) + "_" +
             std::string(DtypeName(std::get<1>(info.param)));
    });

}  // namespace
}  // namespace ftd::engine
