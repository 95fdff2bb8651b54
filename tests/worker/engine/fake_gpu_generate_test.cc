// Generation on the GPU's ways through the engine, against the CPU's. See fake_gpu.h for what that
// shows.

#include <filesystem>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"
#include "tests/worker/engine/fake_gpu/fake_gpu.h"
#include "tests/worker/engine/tiny_model.h"
#include "worker/engine/generate.h"

namespace ftd::engine {
namespace {

using ::ftd::testing::TinyShape;

std::vector<std::vector<int32_t>> Generate(const std::filesystem::path& model, bool on_cpu) {
  Generator generator({.model_dir = model, .on_cpu = on_cpu});
  EXPECT_EQ(generator.device(), on_cpu ? "cpu" : "cuda:0");
  std::vector<std::vector<int32_t>> tokens;
  for (const TokenizedRow& row : ::ftd::testing::RandomRows(4, 24, /*seed=*/3)) {
    tokens.emplace_back();
    generator.Add({row.input_ids, {}, 20, {}});
  }
  while (!generator.idle())
    for (const NextToken& next : generator.Step()) tokens[next.sequence].push_back(next.token);
  return tokens;
}

class FakeGpuGenerateTest : public ::testing::Test {
 protected:
  ~FakeGpuGenerateTest() override { UseFakeGpu(false); }

  TempDir dir_;
};

TEST_F(FakeGpuGenerateTest, GivesTheTokensOfTheCpu) {
  const std::vector<TinyShape> shapes = {{},
                                         {.family = "mistral", .options = {{"sliding_window", 9}}},
                                         {.family = "gemma2",
                                          .options = {{"sliding_window", 7},
                                                      {"query_pre_attn_scalar", 8},
                                                      {"attn_logit_softcapping", 2.0}}},
                                         ::ftd::testing::DeltaShapeOf(3)};
  for (const TinyShape& shape : shapes) {
    const std::filesystem::path model = dir_ / shape.family;
    ::ftd::testing::WriteTinyModel(model, /*seed=*/7, shape);
    const auto expected = Generate(model, /*on_cpu=*/true);
    UseFakeGpu(true);
    EXPECT_EQ(Generate(model, /*on_cpu=*/false), expected) << shape.family;
    EXPECT_EQ(Generate(model, /*on_cpu=*/true), expected) << shape.family;
    UseFakeGpu(false);
  }
}

}  // namespace
}  // namespace ftd::engine
