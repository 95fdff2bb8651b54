// The plan of a job's memory on a CPU (lib/plan), against what ATen's allocator counts; and the
// allocator of large tensors.

#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "lib/plan/memory_plan.h"
#include "tests/support/temp_dir.h"
#include "tests/worker/engine/counted_memory.h"
#include "tests/worker/engine/tiny_model.h"
#include "worker/engine/device/large_tensors.h"
#include "worker/engine/train.h"

namespace ftd::engine {
namespace {

using ::ftd::testing::CountedMemory;
using ::ftd::testing::TinyShape;
using ::ftd::testing::TinySpec;

struct Job {
  std::string family = "llama";
  Mode mode = Mode::kLora;
  Dtype dtype = Dtype::kFloat32;
  Checkpointing checkpointing = Checkpointing::kOff;
  std::vector<int> rows = {300, 200};  // tokens of those of a micro-batch
  int micro_batches = 1;
  Precision precision = Precision::kFp32Master;
  double dropout = 0;
  int rank = 8;
  TinyShape shape{
      .layers = 3, .hidden = 128, .inner = 352, .heads = 4, .kv_heads = 2, .vocabulary = 4000};
};

TinyShape ShapeOf(const Job& job) {
  TinyShape shape = job.shape;
  shape.family = job.family;
  if (job.family == "qwen3") shape.biases = true;
  if (job.family == "gemma3_text")
    shape.options = {{"final_logit_softcapping", 30.0}, {"sliding_window_pattern", 2}};
  if (job.family == "gemma2") shape.options = {{"attn_logit_softcapping", 50.0}};
  if (job.family == "granite") shape.options = {{"residual_multiplier", 0.5}};
  if (job.family == "phi3") shape.options = {{"partial_rotary_factor", 0.5}};
  if (job.family == "qwen3_5_text") shape = ftd::testing::DeltaShapeOf(4);
  return shape;
}

TrainSpec SpecOf(const Job& job) {
  TrainSpec spec = TinySpec(job.mode, 2);
  spec.dtype = job.dtype;
  spec.precision = job.precision;
  spec.lora.rank = job.rank;
  spec.lora.dropout = job.dropout;
  spec.batch_size = static_cast<int32_t>(job.rows.size());
  spec.gradient_accumulation_steps = job.micro_batches;
  spec.gradient_checkpointing = job.checkpointing;
  return spec;
}

std::vector<TokenizedRow> RowsOf(const Job& job) {
  std::vector<TokenizedRow> rows;
  for (int i = 0; i < job.micro_batches; ++i) {
    for (const int tokens : job.rows) {
      TokenizedRow row;
      for (int t = 0; t < tokens; ++t) row.input_ids.push_back((t * 37 + i) % 60);
      row.labels = row.input_ids;
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

BatchShape BatchOf(const Job& job) {
  BatchShape batch;
  for (const int tokens : job.rows) {
    batch.tokens += tokens;
    batch.labels += tokens - 1;
    batch.longest = std::max<int64_t>(batch.longest, tokens);
    batch.chunks += (tokens + 63) / 64;
  }
  batch.documents = static_cast<int64_t>(job.rows.size());
  batch.distinct = 60;
  return batch;
}

struct Measured {
  int64_t kept = 0, step = 0;  // bytes, as the allocator counts them
};

Measured Run(const Job& job, const std::filesystem::path& model) {
  const auto counted = std::make_shared<CountedMemory>();
  const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, counted);
  Trainer trainer(SpecOf(job), model, std::make_unique<RowsInMemory>(RowsOf(job)), nullptr,
                  nullptr);
  Measured measured{.kept = counted->now()};
  counted->Restart();
  const std::atomic<bool> never{false};
  EXPECT_TRUE(trainer.Step(never, [] {}).has_value());
  measured.step = counted->peak() - measured.kept;
  return measured;
}

std::vector<Job> Jobs() {
  using C = Checkpointing;
  std::vector<Job> jobs;
  for (const Dtype dtype : {Dtype::kFloat32, Dtype::kBfloat16}) {
    for (const Mode mode : {Mode::kLora, Mode::kQlora, Mode::kFull}) {
      for (const C c : {C::kOff, C::kOn})
        jobs.push_back({.mode = mode, .dtype = dtype, .checkpointing = c});
      for (const char* family : {"qwen3", "gemma2", "gemma3_text", "granite", "olmo3", "phi3"})
        jobs.push_back({.family = family, .mode = mode, .dtype = dtype});
    }
    jobs.push_back({.family = "qwen3_5_text", .dtype = dtype, .rows = {700, 500}});
    jobs.push_back({.family = "qwen3_5_text", .mode = Mode::kFull, .dtype = dtype, .rows = {900}});
    jobs.push_back({.dtype = dtype, .rows = {700}});
    jobs.push_back({.dtype = dtype, .rows = std::vector<int>(16, 60)});
    jobs.push_back({.dtype = dtype, .dropout = 0.1, .rank = 64});
    jobs.push_back({.mode = Mode::kFull, .dtype = dtype, .micro_batches = 2});
    jobs.push_back({.mode = Mode::kFull, .dtype = dtype, .precision = Precision::kHfParity});
    jobs.push_back({.mode = Mode::kFull,
                    .dtype = dtype,
                    .micro_batches = 2,
                    .precision = Precision::kHfParity});
  }
  return jobs;
}

void ExpectPlanned(const Job& job, const std::filesystem::path& dir) {
  ftd::testing::WriteTinyModel(dir, 1, ShapeOf(job));
  const ModelConfig config = *ReadModelConfig(dir);
  const bool recomputed = job.checkpointing == Checkpointing::kOn;
  const MemoryPlan plan = PlanMemory(config, SpecOf(job), /*on_gpu=*/false, BatchOf(job),
                                     recomputed ? config.num_hidden_layers : 0);
  const Measured measured = Run(job, dir);
  const auto ratio = [](int64_t predicted, int64_t actual) {
    return static_cast<double>(predicted) / static_cast<double>(actual);
  };
  std::printf(
      "%-12s %-5s %s %-10s kept %5.1f MB %+5.2f %%, step %5.1f MB %+5.2f %%\n", job.family.c_str(),
      std::string(ModeName(job.mode)).c_str(), job.dtype == Dtype::kFloat32 ? "float32" : "16 bits",
      recomputed ? "recomputed" : "", static_cast<double>(measured.kept) / 1e6,
      100 * ratio(plan.kept(), measured.kept) - 100, static_cast<double>(measured.step) / 1e6,
      100 * ratio(plan.step, measured.step) - 100);
  EXPECT_NEAR(ratio(plan.kept(), measured.kept), 1, 0.03);
  EXPECT_NEAR(ratio(plan.step, measured.step), 1, 0.05);
}

TEST(CpuMemoryTest, AJobTakesTheMemoryThatWasPredicted) {
  const TempDir dir;
  int number = 0;
  for (const Job& job : Jobs()) {
    SCOPED_TRACE("job " + std::to_string(number));
    ExpectPlanned(job, dir / std::to_string(number++));
  }
  EXPECT_GE(number, 30);
}

// Fills a tensor with a number of its own; a tensor that overlaps with it would change that.
at::Tensor Filled(int64_t number, int64_t floats) {
  return at::full({floats}, static_cast<double>(number), at::TensorOptions(at::kFloat));
}

bool IsWhole(const at::Tensor& tensor) {
  return tensor.eq(tensor[0].item<double>()).all().item<bool>();
}

// A hundred thousand bytes to four million, on both sides of where a tensor counts as large.
void TakeAndGiveBack(int64_t thread, int64_t* broken) {
  std::mt19937 random(static_cast<uint32_t>(thread));
  std::vector<at::Tensor> held(24);
  for (int64_t i = 0; i < 600; ++i) {
    at::Tensor& place = held[random() % held.size()];
    if (place.defined() && !IsWhole(place)) ++*broken;
    place = Filled(thread * 1000 + i, 25'000 + random() % 1'000'000);
    if (reinterpret_cast<uintptr_t>(place.data_ptr()) % 64 != 0) ++*broken;
  }
  for (const at::Tensor& tensor : held) {
    if (tensor.defined() && !IsWhole(tensor)) ++*broken;
  }
}

TEST(LargeTensorsTest, NoTwoOverlapWhateverThreadTheyAreOf) {
  PlaceLargeTensors();
  int64_t broken[2] = {};
  std::thread other(TakeAndGiveBack, 1, &broken[1]);
  TakeAndGiveBack(0, &broken[0]);
  other.join();
  EXPECT_EQ(broken[0] + broken[1], 0);
}

// malloc does not put a block where an equal one was: it wants room to align it.
TEST(LargeTensorsTest, ABlockFitsWhereAnEqualOneWas) {
  PlaceLargeTensors();
  const at::Tensor before = Filled(1, 1 << 20);
  at::Tensor tensor = Filled(2, 3 << 20);
  const at::Tensor behind = Filled(3, 1 << 20);
  const void* const place = tensor.data_ptr();
  tensor.reset();
  tensor = Filled(4, 3 << 20);
#ifndef __SANITIZE_ADDRESS__
  EXPECT_EQ(tensor.data_ptr(), place);
#endif
  EXPECT_TRUE(IsWhole(before) && IsWhole(behind));
}

// AddressSanitizer has more addresses than that to itself.
#ifndef __SANITIZE_ADDRESS__
TEST(LargeTensorsTest, WorksUnderALimitOnAddresses) {
  const auto limited = [] {
    rlimit limit{};
    ::getrlimit(RLIMIT_AS, &limit);
    limit.rlim_cur = rlim_t{3} << 30;
    ::setrlimit(RLIMIT_AS, &limit);
    PlaceLargeTensors();
    ::_exit(IsWhole(Filled(1, 16 << 20)) ? 0 : 1);
  };
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // a fork alone would have no threads to add with
  EXPECT_EXIT(limited(), ::testing::ExitedWithCode(0), "");
}
#endif

}  // namespace
}  // namespace ftd::engine
