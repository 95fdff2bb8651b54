#include "worker/run/failure.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "worker/run/training_run.h"

namespace ftd {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr char kAdvice[] = "--gradient-checkpointing on";

v1::WorkerEvent::End OutOfMemory(const FailedRun& run) {
  return FailureOf(engine::EngineError(engine::EngineError::Kind::kOutOfMemory, "4 GiB wanted"),
                   run);
}

TEST(Failure, AFullGpuIsToldWithWhatHelps) {
  const std::pair<Mode, const char*> kAdvised[] = {{Mode::kFull, "--mode lora"},
                                                   {Mode::kLora, "--mode qlora"},
                                                   {Mode::kQlora, "a smaller model"}};
  for (const auto& [mode, advice] : kAdvised) {
    const auto end = OutOfMemory({.on_gpu = true, .mode = mode});
    EXPECT_EQ(end.outcome(), v1::WorkerEvent::End::FAILED);
    EXPECT_EQ(end.failure_reason(), v1::GPU_OUT_OF_MEMORY);
    EXPECT_EQ(end.message(), "4 GiB wanted");
    // By then micro-batches are of one row, and all layers are recomputed.
    EXPECT_THAT(end.hint(), AllOf(HasSubstr("--seq-length"), HasSubstr(advice),
                                  Not(HasSubstr("--batch")), Not(HasSubstr(kAdvice))));
  }
}

TEST(Failure, NobodyIsToldToDoWhatIsDoneAlready) {
  const FailedRun run{.gradient_checkpointing = Checkpointing::kOn};
  EXPECT_THAT(OutOfMemory(run).hint(), AllOf(HasSubstr("--batch-size"), Not(HasSubstr(kAdvice))));
  EXPECT_THAT(FailureOf(std::bad_alloc(), run).hint(), Not(HasSubstr(kAdvice)));
}

TEST(Failure, ABatchOfTokensIsMadeSmallerByTokens) {
  EXPECT_THAT(OutOfMemory({.batch_tokens = true}).hint(),
              AllOf(HasSubstr("--batch-tokens"), Not(HasSubstr("--batch-size"))));
}

TEST(Failure, OnACpuItIsTheHostsMemory) {
  const auto end = OutOfMemory({.on_gpu = false});
  EXPECT_EQ(end.failure_reason(), v1::HOST_MEMORY_GUARD);
  EXPECT_THAT(end.message(), AllOf(HasSubstr("the host's memory"), HasSubstr("4 GiB wanted")));
  EXPECT_THAT(end.hint(), HasSubstr(kAdvice));
}

// The first that RunTraining calls of it.
class Starved : public RunObserver {
 public:
  void Progress(v1::Progress::Phase, const Amount&) override { throw std::bad_alloc(); }
  void Data(const v1::DataReport&) override {}
  void Outline(const RunOutline&) override {}
  void Step(const v1::StepMetrics&) override {}
  void Evaluation(const v1::Evaluation&) override {}
  void Sample(const v1::GeneratedSample&) override {}
  void Checkpoint(const v1::Checkpoint&) override {}
  void Warning(const std::string&) override {}
};

TEST(Failure, AnAllocationThatFailsIsNoDefect) {
  RunOrder order;
  order.request.set_host_memory_reserve_bytes(0);
  Starved observer;
  StopFlags flags;
  const auto end = RunTraining(order, observer, flags);
  EXPECT_EQ(v1::FailureReason_Name(end.failure_reason()), "HOST_MEMORY_GUARD");
  EXPECT_THAT(end.message(), HasSubstr("the host's memory ran out"));
  EXPECT_THAT(end.hint(), AllOf(HasSubstr("free memory of the host"), HasSubstr(kAdvice)));
}

}  // namespace
}  // namespace ftd
