// Whole training runs on the GPU's ways through the engine, against the CPU's. See fake_gpu.h for
// what that shows.

#include <ATen/ATen.h>

#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "gtest/gtest.h"
#include "lib/base/sha256.h"
#include "tests/support/temp_dir.h"
#include "tests/worker/engine/fake_gpu/fake_gpu.h"
#include "tests/worker/engine/tiny_model.h"
#include "tests/worker/engine/whole_run.h"
#include "worker/engine/device/device.h"
#include "worker/engine/generate.h"
#include "worker/engine/ops/linear/linear.h"
#include "worker/engine/train.h"

namespace ftd::engine {
namespace {

using ::ftd::testing::FinishRun;

class FakeGpuTest : public ::testing::TestWithParam<std::tuple<Mode, Dtype>> {
 protected:
  FakeGpuTest() { ftd::testing::WriteTinyModel(dir_ / "model", 1); }
  ~FakeGpuTest() override { UseFakeGpu(false); }

  static TrainSpec Spec() { return std::apply(ftd::testing::RunSpec, GetParam()); }

  Trainer Make(const TrainSpec& spec) const {
    return ftd::testing::TrainerOf(spec, dir_ / "model");
  }

  std::filesystem::path Export(const Trainer& trainer, const std::string& name) const {
    return ftd::testing::ExportRun(trainer, std::get<0>(GetParam()), dir_ / name);
  }

  void ExpectEqualsTheCpu(const TrainSpec& spec, const std::string& name,
                          bool with_weights = true) const {
    Trainer host = Make(spec);
    const std::vector<double> expected = FinishRun(host);
    UseFakeGpu(true);
    Trainer gpu = Make(spec);
    const std::vector<double> actual = FinishRun(gpu);
    UseFakeGpu(false);
    ftd::testing::ExpectNearNumbers(actual, expected, spec.dtype);
    if (!with_weights) return;
    ftd::testing::ExpectNearWeights(Export(gpu, name + "-gpu"), Export(host, name + "-host"),
                                    spec.dtype);
  }

  TempDir dir_;
};

TEST_P(FakeGpuTest, EqualsTheCpu) { ExpectEqualsTheCpu(Spec(), "plain"); }

// Without dropout A's gradient is made another way (linear.h's NormFoldsIntoProduct).
TEST_P(FakeGpuTest, EqualsTheCpuWithoutDropout) {
  TrainSpec spec = Spec();
  if (spec.mode == Mode::kFull) GTEST_SKIP() << "has none anyway";
  spec.lora.dropout = 0;
  ExpectEqualsTheCpu(spec, "no-dropout");
}

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

TEST_P(FakeGpuTest, EqualsTheCpuWithTheGatedDeltaRule) {
  std::filesystem::remove_all(dir_ / "model");
  ftd::testing::WriteTinyModel(dir_ / "model", 1, ftd::testing::DeltaShapeOf(2));
  TrainSpec spec = Spec();
  spec.learning_rate = 1e-4;  // more would magnify the rounding of gradients near zero
  // An adapter of a few rows, such as that of the step width, has gradients near zero alone: in 16
  // bits Adam's first steps follow their rounding.
  ExpectEqualsTheCpu(spec, "delta", spec.dtype == Dtype::kFloat32);
}

TEST_P(FakeGpuTest, ResumedRunHasTheUnbrokenRunsBits) {
  UseFakeGpu(true);
  const TrainSpec spec = Spec();
  Trainer unbroken = Make(spec);
  const std::vector<double> expected = FinishRun(unbroken);
  Trainer first = Make(spec);
  for (int i = 0; i < 2; ++i) ftd::testing::TakeStep(first);
  const TempDir state;
  first.SaveState(state.path());
  Trainer second = Make(spec);
  second.LoadState(state.path(), 2);
  const std::vector<double> rest = FinishRun(second);
  EXPECT_EQ(rest, std::vector<double>(expected.end() - static_cast<int64_t>(rest.size()),
                                      expected.end()));
  EXPECT_EQ(Sha256File(Export(second, "resumed")).value(),
            Sha256File(Export(unbroken, "unbroken")).value());
}

// Answers before and between the steps, one of which is not complete when a step comes.
TEST_P(FakeGpuTest, GenerationChangesNoBitOfTraining) {
  const TrainSpec spec = Spec();
  for (const bool on_gpu : {false, true}) {
    UseFakeGpu(on_gpu);
    const std::string device = on_gpu ? "gpu" : "cpu";
    Trainer plain = Make(spec);
    const std::vector<double> expected = FinishRun(plain);
    Trainer sampled = Make(spec);
    const std::unique_ptr<Generator> generator = sampled.NewGenerator();
    EXPECT_EQ(generator->device(), on_gpu ? "cuda:0" : "cpu");
    for (int i = 0; i < 2; ++i) {
      generator->Add({{3, 1, 4, 1, 5}, {}, 6, {}});
      generator->Add({{2, 7}, {}, 20, {}});
      for (int token = 0; token < 10; ++token) EXPECT_FALSE(generator->Step().empty());
      ftd::testing::TakeStep(sampled);
    }
    generator->Step();
    const std::vector<double> rest = FinishRun(sampled);
    EXPECT_EQ(rest, std::vector<double>(expected.end() - static_cast<int64_t>(rest.size()),
                                        expected.end()))
        << device;
    EXPECT_EQ(Sha256File(Export(sampled, "sampled-" + device)).value(),
              Sha256File(Export(plain, "plain-" + device)).value());
  }
}

INSTANTIATE_TEST_SUITE_P(
    Modes, FakeGpuTest,
    ::testing::Combine(::testing::Values(Mode::kLora, Mode::kFull, Mode::kQlora),
                       ::testing::Values(Dtype::kFloat32, Dtype::kBfloat16, Dtype::kFloat16)),
    [](const auto& info) {
      return std::string(ModeName(std::get<0>(info.param))) + "_" +
             std::string(DtypeName(std::get<1>(info.param)));
    });

// A's gradient without the norm's output, first of a step and added to another, against its
// definition in float64.
TEST(NormFoldsIntoProductTest, AsGradientEqualsTheDefinition) {
  UseFakeGpu(true);
  const int64_t T = 29, I = 40, O = 24, R = 4;
  const auto on_gpu = [](const at::Tensor& t) { return t.to(TrainingDevice(), at::kBFloat16); };
  const auto exact = [](const at::Tensor& t) { return t.cpu().to(at::kDouble); };
  LinearLayer layer;
  layer.weight.value = on_gpu(at::randn({O, I}));
  layer.lora_a.value = on_gpu(at::randn({R, I}));
  layer.lora_a.MakeTrainable();
  layer.scale = 2;
  layer.rank = R;
  layer.adapters = {{0, O, {}}};
  layer.adapters[0].b.value = on_gpu(at::randn({O, R}));
  layer.adapters[0].b.MakeTrainable();
  // Rows of different sizes, so that each has a statistic of its own.
  const at::Tensor h = on_gpu(at::randn({T, I}) * at::exp2(at::randint(-4, 5, {T, 1})));
  const at::Tensor w = on_gpu(1 + 0.3 * at::randn({I})), dy = on_gpu(at::randn({T, O}));
  LinearInput input{{}, h, w, {}};
  const at::Tensor normed = RmsNormForward(h, w, 1e-5, &input.norm);
  ASSERT_TRUE(NormFoldsIntoProduct(h));
  LinearSaved saved;
  LinearForward(layer, normed, {}, &saved);

  const at::Tensor x64 = exact(h) * exact(input.norm.rstd) * exact(w);
  const at::Tensor once = (2 * exact(dy).mm(exact(layer.adapters[0].b.value))).t().mm(x64);
  for (const double times : {1.0, 2.0}) {
    LinearBackward(layer, input, saved, {}, dy, /*needs_dx=*/true);
    const at::Tensor distance = exact(layer.lora_a.grad) - times * once;
    EXPECT_LT((distance.norm() / (times * once).norm()).item<double>(), 1e-2) << times;
  }
  UseFakeGpu(false);
}

}  // namespace
}  // namespace ftd::engine
