// Gradient checkpointing pays: the most that a step holds, as ATen's allocator tells it. That it
// changes no bit is trainer_test's.
#include <ATen/core/Tensor.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <atomic>
#include <filesystem>

#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"
#include "tests/worker/engine/counted_memory.h"
#include "tests/worker/engine/tiny_model.h"
#include "worker/engine/train.h"

namespace ftd::engine {
namespace {

// The most memory that one step of the spec takes beyond what is there before it.
int64_t PeakOfStep(const TrainSpec& spec, const std::filesystem::path& model_dir) {
  TokenizedRow row;
  row.input_ids.assign(700, 5);
  row.labels = row.input_ids;
  Trainer trainer(spec, model_dir, std::make_unique<RowsInMemory>(std::vector(2, row)), nullptr,
                  nullptr);
  const std::atomic<bool> never{false};
  const auto counted = std::make_shared<ftd::testing::CountedMemory>();
  const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, counted);
  EXPECT_TRUE(trainer.Step(never, [] {}).has_value());
  return counted->peak();
}

TEST(RecomputeMemoryTest, AStepHoldsLess) {
  const TempDir dir;
  ftd::testing::WriteTinyModel(dir.path(), 1, {.layers = 12});
  for (const Mode mode : {Mode::kLora, Mode::kFull}) {
    TrainSpec spec = ftd::testing::TinySpec(mode, 1);
    const int64_t keeping = PeakOfStep(spec, dir.path());
    spec.gradient_checkpointing = Checkpointing::kOn;
    const int64_t recomputing = PeakOfStep(spec, dir.path());
    EXPECT_GT(recomputing, 0);
    EXPECT_LT(recomputing, keeping / 2) << ModeName(mode) << " kept " << keeping;
  }
}

}  // namespace
}  // namespace ftd::engine
