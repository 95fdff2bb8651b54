// Whole training runs of the tiny model, for tests that compare two devices.
#pragma once

#include <filesystem>
#include <vector>

#include "lib/spec/train_spec.h"
#include "worker/engine/train.h"

namespace ftd::testing {

inline constexpr int kRunSteps = 4;

// Two micro-batches a step, and dropout on adapters.
TrainSpec RunSpec(Mode mode, Dtype dtype);

// A trainer on five rows, with five others to evaluate on.
engine::Trainer TrainerOf(const TrainSpec& spec, const std::filesystem::path& model_dir);

// One step, which nothing stops.
engine::StepResult TakeStep(engine::Trainer& trainer);

// Takes the steps that are left. Returns each one's loss, gradient norm and entropy, then the
// evaluation's loss.
std::vector<double> FinishRun(engine::Trainer& trainer);

// Writes the result into `dir`, which it creates. Returns the weights' file.
std::filesystem::path ExportRun(const engine::Trainer& trainer, Mode mode,
                                const std::filesystem::path& dir);

// Holds FinishRun's numbers against the CPU's.
void ExpectNearNumbers(const std::vector<double>& actual, const std::vector<double>& cpu,
                       Dtype dtype);

// Holds ExportRun's weights against the CPU's.
void ExpectNearWeights(const std::filesystem::path& actual, const std::filesystem::path& cpu,
                       Dtype dtype);

}  // namespace ftd::testing
