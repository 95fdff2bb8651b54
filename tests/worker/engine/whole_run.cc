#include "tests/worker/engine/whole_run.h"

#include <ATen/ATen.h>

#include <atomic>
#include <cmath>
#include <memory>

#include "gtest/gtest.h"
#include "lib/model/safetensors.h"
#include "tests/worker/engine/tiny_model.h"
#include "worker/engine/tensors/tensor_io.h"

namespace ftd::testing {
namespace {

const std::atomic<bool> kNeverStop{false};

std::unique_ptr<RowSource> Rows(uint32_t seed) {
  return std::make_unique<RowsInMemory>(RandomRows(5, 9, seed));
}

}  // namespace

TrainSpec RunSpec(Mode mode, Dtype dtype) {
  TrainSpec spec = TinySpec(mode, kRunSteps);
  spec.dtype = dtype;
  spec.gradient_accumulation_steps = 2;
  if (mode != Mode::kFull) spec.lora.dropout = 0.2;
  return spec;
}

engine::Trainer TrainerOf(const TrainSpec& spec, const std::filesystem::path& model_dir) {
  return {spec, model_dir, Rows(7), Rows(8), nullptr};
}

engine::StepResult TakeStep(engine::Trainer& trainer) {
  return *trainer.Step(kNeverStop, [] {});
}

std::vector<double> FinishRun(engine::Trainer& trainer) {
  std::vector<double> numbers;
  while (trainer.steps_taken() < kRunSteps) {
    const engine::StepResult step = TakeStep(trainer);
    numbers.insert(numbers.end(), {step.loss, step.grad_norm, step.entropy});
  }
  numbers.push_back(trainer.Evaluate(kNeverStop, [](int64_t) {})->loss);
  return numbers;
}

std::filesystem::path ExportRun(const engine::Trainer& trainer, Mode mode,
                                const std::filesystem::path& dir) {
  std::filesystem::create_directories(dir);
  trainer.ExportWeights(dir);
  return dir / (mode == Mode::kFull ? "model.safetensors" : "adapter_model.safetensors");
}

void ExpectNearNumbers(const std::vector<double>& actual, const std::vector<double>& cpu,
                       Dtype dtype) {
  const double tolerance = dtype == Dtype::kFloat32 ? 1e-5 : 3e-2;
  ASSERT_EQ(actual.size(), cpu.size());
  for (size_t i = 0; i < actual.size(); ++i)
    EXPECT_NEAR(actual[i], cpu[i], tolerance * std::abs(cpu[i])) << i;
}

void ExpectNearWeights(const std::filesystem::path& actual, const std::filesystem::path& cpu,
                       Dtype dtype) {
  const auto actual_file = SafetensorsFile::Open(actual).value();
  const auto cpu_file = SafetensorsFile::Open(cpu).value();
  ASSERT_EQ(actual_file.tensors().size(), cpu_file.tensors().size());
  for (const auto& [tensor, view] : cpu_file.tensors()) {
    const at::Tensor a = engine::ViewAsTensor(view);
    const at::Tensor b = engine::ViewAsTensor(actual_file.tensors().at(tensor));
    // Adam's first steps have the size of the learning rate however small a gradient is.
    const double distance = ((a - b).norm() / a.norm()).item<double>();
    EXPECT_LE(distance, dtype == Dtype::kFloat32 ? 1e-3 : 0.2) << tensor;
  }
}

}  // namespace ftd::testing
