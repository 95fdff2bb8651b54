// Llama 3.1 8B on cards of several sizes.
#include "lib/plan/fit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/lib/plan/plan_fixtures.h"
#include "tests/support/expect_status.h"

namespace ftd {
namespace {

using ::testing::ElementsAre;

constexpr int64_t kGigabyte = 1'000'000'000;

TrainSpec LongSpec(const char* more) {
  TrainSpec spec = *ResolveTrainSpec(
      absl::StrCat(R"({"model": "m", "dataset": {"path": "d"}, "seq_length": 8192, )", more, "}"),
      Dtype::kBfloat16);
  if (spec.mode != Mode::kFull) spec.lora.target_modules = TargetModulesOf(*Llama8B().family);
  return spec;
}

std::vector<std::string> Flags(const TrainSpec& spec, int64_t gigabytes) {
  std::vector<std::string> flags;
  for (const SpecChange& change :
       ChangesThatFit(Llama8B(), spec, /*on_gpu=*/true, 8192, gigabytes * kGigabyte)) {
    EXPECT_LE(change.bytes, gigabytes * kGigabyte) << change.flags;
    flags.push_back(change.flags);
  }
  return flags;
}

TEST(FitTest, TheLeastIsTheModelAndOneRow) {
  const MemoryPlan lora = LeastMemory(Llama8B(), LongSpec(R"("mode": "LORA", "lora": {"rank": 8})"),
                                      /*on_gpu=*/true, 8192);
  EXPECT_EQ(lora.recomputed, 32);
  EXPECT_EQ(lora.weights, 2 * int64_t{8030261248});
  // The inputs of 32 layers are 64 MiB each, and a layer's own tensors about 1.5 GB.
  EXPECT_GT(lora.step, int64_t{32} << 26);
  EXPECT_LT(lora.step, 6 * kGigabyte);
}

TEST(FitTest, OffersWhatChangesLittleFirst) {
  // 18 bytes a number with masters: 144.5 GB; 8 without: 64.2.
  const TrainSpec full = LongSpec(R"("mode": "FULL")");
  EXPECT_THAT(Flags(full, 80), ElementsAre("--precision hf_parity", "--mode lora", "--mode qlora"));
  EXPECT_THAT(Flags(full, 24), ElementsAre("--mode lora", "--mode qlora"));
  EXPECT_THAT(Flags(full, 12), ElementsAre("--mode qlora"));
  EXPECT_THAT(Flags(full, 4), ElementsAre());
  EXPECT_THAT(Flags(LongSpec(R"("mode": "LORA", "dtype": "FLOAT32")"), 24),
              ElementsAre("--dtype bfloat16", "--mode qlora"));
}

TEST(FitTest, RefusesWithWhatWouldFit) {
  const TrainSpec full = LongSpec(R"("mode": "FULL")");
  const auto fits = [&](const TrainSpec& spec, int64_t gigabytes) {
    return CheckFits(Llama8B(), spec, {.on_gpu = true, .bytes = gigabytes * kGigabyte}, 8192);
  };
  EXPECT_TRUE(fits(full, 200).ok());
  EXPECT_TRUE(fits(full, 0).ok());  // not known
  EXPECT_ERROR(fits(full, 24), absl::StatusCode::kFailedPrecondition, "DOES_NOT_FIT",
               "jobs may have 24.0 GB of the GPU. It would fit with --mode lora (");
  EXPECT_ERROR(fits(full, 24), absl::StatusCode::kFailedPrecondition, "DOES_NOT_FIT",
               ", or with --mode qlora (");
  EXPECT_ERROR(fits(full, 4), absl::StatusCode::kFailedPrecondition, "DOES_NOT_FIT",
               "choose a smaller model");
}

TEST(FitTest, TellsTheWork) {
  const auto changes = ChangesThatFit(Llama8B(), LongSpec(R"("mode": "FULL")"), /*on_gpu=*/true,
                                      8192, 24 * kGigabyte);
  ASSERT_FALSE(changes.empty());
  // Frozen weights take 4 of 6 operations, attention as many as before.
  EXPECT_NEAR(changes[0].work, 0.7, 0.05);
}

}  // namespace
}  // namespace ftd
