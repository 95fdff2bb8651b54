#include "client/watch/watch_screen.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_join.h"
#include "client/text/text.h"

namespace ftd {
namespace {

using ftd::v1::Job;
using ftd::v1::WatchJobResponse;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr double kNow = 1000;

WatchJobResponse Snapshot(Job::State state) {
  WatchJobResponse event;
  Job* job = event.mutable_snapshot();
  job->set_id("ft-1");
  job->set_name("first");
  job->set_state(state);
  job->mutable_spec()->set_mode(ftd::v1::JobSpec::LORA);
  job->mutable_spec()->set_model("/models/SmolLM2-135M");
  job->mutable_progress()->set_steps_planned(60);
  return event;
}

WatchState Training() {
  WatchState state;
  WatchJobResponse event = Snapshot(Job::RUNNING);
  event.mutable_snapshot()->mutable_progress()->set_phase(ftd::v1::Progress::TRAIN);
  event.mutable_snapshot()->mutable_start_time()->set_seconds(920);
  state.Apply(event);
  for (int i = 1; i <= 30; ++i) {
    WatchJobResponse step;
    step.mutable_step()->set_step(i);
    step.mutable_step()->set_loss(3.0 - 0.05 * i);
    step.mutable_step()->set_learning_rate(9e-5);
    step.mutable_step()->set_grad_norm(0.83);
    step.mutable_step()->set_tokens_per_second(412);
    step.mutable_step()->set_padding_ratio(0.25);
    step.mutable_step()->set_epoch(0.5);
    step.mutable_step()->set_step_seconds(2);
    state.Apply(step);
  }
  return state;
}

void AddCheckpointAndWarning(WatchState* state) {
  WatchJobResponse checkpoint;
  checkpoint.mutable_checkpoint()->set_step(25);
  checkpoint.mutable_checkpoint()->set_size_bytes(12'300'000);
  checkpoint.mutable_checkpoint()->mutable_create_time()->set_seconds(990);
  state->Apply(checkpoint);
  WatchJobResponse warning;
  warning.set_warning("3 rows were \x1b[2Jcut");
  state->Apply(warning);
}

std::string RenderedScreen(const WatchState& state, ScreenStyle style, const Gpus& gpus = {}) {
  return absl::StrJoin(RenderWatchScreen(state, gpus, style, kNow), "\n");
}

Gpus TwoGpus() {
  Gpus gpus;
  for (int i = 0; i < 2; ++i) {
    Gpu* gpu = gpus.Add();
    gpu->set_index(i);
    gpu->set_name("NVIDIA H200");
    gpu->set_utilization_ratio(0.97);
    gpu->set_memory_used_bytes(41'200'000'000);
    gpu->set_memory_total_bytes(150'800'000'000);
    gpu->set_temperature_celsius(63);
  }
  return gpus;
}

// The whole picture, written by hand from the figures above: 30 of 60 steps at 2 s each leave
// 1m00s. The losses fall by 0.05 a step, and their mean lags behind.
TEST(WatchScreen, WholePictureInAscii) {
  WatchState state = Training();
  AddCheckpointAndWarning(&state);
  EXPECT_EQ(RenderedScreen(state, {60, 20, false, false}),
            "ft-1  first   lora on SmolLM2-135M\n"
            "RUNNING   TRAIN   1m20s\n"
            "[###############...............] step 30/60  50%  ETA 1m00s\n"
            "epoch 0.50   loss 1.5000   smoothed 1.8836   grad norm 0.83\n"
            "lr 9.0e-05   padding 25%   412 tok/s   2.00 s/step\n"
            "\n"
            "     . loss   * smoothed\n"
            "    |********                                               \n"
            "    |      ..**************                                 \n"
            "2.5 +               . . .. *************                    \n"
            "    |                        . . . .    **********          \n"
            "2.0 +                                . .. . .     **********\n"
            "    |                                         . . . ..      \n"
            "1.5 +                                                  . . .\n"
            "    +-----------------+-----------------+------------------+\n"
            "step                 10                20                 30\n"
            "\n"
            "warning  3 rows were ?[2Jcut\n"
            "checkpoint  step 25, 12.3 MB, 10s ago\n"
            "Ctrl-C leaves the job running; ftctl cancel first ends it");
}

TEST(WatchScreen, EvaluationsAreInThePlot) {
  WatchState state = Training();
  EXPECT_THAT(RenderedScreen(state, {80, 24, false, true}), Not(HasSubstr("eval loss")));
  WatchJobResponse event;
  event.mutable_evaluation()->set_step(20);
  event.mutable_evaluation()->set_loss(2.25);
  state.Apply(event);
  const std::string screen = RenderedScreen(state, {80, 24, false, true});
  EXPECT_THAT(screen, HasSubstr("· loss   ─ smoothed   ● eval loss"));
  EXPECT_THAT(screen, HasSubstr("eval loss 2.2500"));
  EXPECT_THAT(screen.substr(screen.find("● eval loss") + 1), HasSubstr("●"));
}

TEST(WatchScreen, SamplesOfTheNewestStep) {
  WatchState state = Training();
  WatchJobResponse event;
  ftd::v1::GeneratedSample& sample = *event.mutable_sample();
  for (const int64_t step : {20, 25}) {
    for (int32_t index = 0; index < 6; ++index) {
      sample.set_step(step);
      sample.set_index(index);
      sample.set_prompt(index == 0 ? R"([{"role":"user","content":"Hi"}])" : "Once\nupon");
      sample.set_text(index == 0 ? "\x1b[2J" + std::string(300, 'x') : "a time");
      state.Apply(event);
    }
  }
  const std::string screen = RenderedScreen(state, {80, 30, false, true});
  EXPECT_THAT(screen, HasSubstr("sample  step 25, \"Hi\" -> \"?[2Jxxx"));
  EXPECT_THAT(screen, HasSubstr("sample  step 25, \"Once upon\" -> \"a time\"\n"));
  EXPECT_THAT(screen, Not(HasSubstr("step 20, \"")));
  EXPECT_THAT(screen, HasSubstr("· loss"));
  for (const std::string& line : RenderWatchScreen(state, {}, {80, 30, false, true}, kNow))
    EXPECT_LE(DisplayWidth(line), 80);
  EXPECT_THAT(RenderedScreen(state, {80, 12, false, true}), HasSubstr("Ctrl-C"));
}

TEST(WatchScreen, ThePlotTakesTheRoomThatThereIs) {
  const auto lines = RenderWatchScreen(Training(), {}, {200, 60, false, true}, kNow);
  EXPECT_EQ(lines.size(), 60u);
  int widest = 0;
  for (const std::string& line : lines) widest = std::max(widest, DisplayWidth(line));
  EXPECT_EQ(widest, 200);
}

TEST(WatchScreen, GpusAreAboveThePlotAndGoAfterIt) {
  const std::string screen = RenderedScreen(Training(), {100, 24, false, true}, TwoGpus());
  EXPECT_THAT(screen, HasSubstr("GPU 1  NVIDIA H200   97% busy   41.2 GB of 150.8 GB   63 °C\n\n"));
  EXPECT_THAT(screen, HasSubstr("· loss"));
  const std::string small = RenderedScreen(Training(), {100, 10, false, true}, TwoGpus());
  EXPECT_THAT(small, HasSubstr("GPU 1"));
  EXPECT_THAT(small, Not(HasSubstr("· loss")));
  const std::string least = RenderedScreen(Training(), {100, 7, false, true}, TwoGpus());
  EXPECT_THAT(least, HasSubstr("GPU 0"));
  EXPECT_THAT(least, Not(HasSubstr("GPU 1")));
  EXPECT_THAT(least, HasSubstr("Ctrl-C"));
}

TEST(WatchScreen, MfuWhereItIsKnown) {
  WatchState state = Training();
  EXPECT_THAT(RenderedScreen(state, {100, 15, false, false}), Not(HasSubstr("MFU")));
  WatchJobResponse step;
  step.mutable_step()->set_step(31);
  step.mutable_step()->set_mfu(0.4375);
  state.Apply(step);
  EXPECT_THAT(RenderedScreen(state, {100, 15, false, false}), HasSubstr("MFU 43.8%"));
}

TEST(WatchScreen, EverySizeStaysInside) {
  WatchState state = Training();
  AddCheckpointAndWarning(&state);
  state.SetLost("no ftd answers");
  for (int columns = 1; columns <= 130; columns += 3) {
    for (int rows = 0; rows <= 45; rows += 3) {
      for (const bool unicode : {true, false}) {
        const auto lines =
            RenderWatchScreen(state, TwoGpus(), {columns, rows, false, unicode}, kNow);
        EXPECT_LE(lines.size(), static_cast<size_t>(rows));
        for (const auto& line : lines)
          EXPECT_LE(DisplayWidth(line), columns) << columns << "x" << rows << ": " << line;
      }
    }
  }
}

TEST(WatchScreen, SmallScreensKeepTheNumbersAndLoseThePlot) {
  const std::string small = RenderedScreen(Training(), {40, 10, false, true});
  EXPECT_THAT(small, HasSubstr("step 30/60"));
  EXPECT_THAT(small, HasSubstr("loss 1.5000"));
  EXPECT_THAT(small, Not(HasSubstr("┤")));
  EXPECT_THAT(RenderedScreen(Training(), {80, 24, false, true}), HasSubstr("┤"));
}

TEST(WatchScreen, ColourOnlyWhenAsked) {
  EXPECT_THAT(RenderedScreen(Training(), {80, 24, false, true}), Not(HasSubstr("\x1b")));
  EXPECT_THAT(RenderedScreen(Training(), {80, 24, true, true}),
              HasSubstr("\x1b[36mRUNNING\x1b[0m"));
}

TEST(WatchScreen, QueuedJobShowsItsPlaceAndWhy) {
  WatchState state;
  WatchJobResponse event = Snapshot(Job::QUEUED);
  event.mutable_snapshot()->set_position(2);
  event.mutable_snapshot()->set_pending_reason(Job::GPU_BUSY);
  state.Apply(event);
  EXPECT_THAT(RenderedScreen(state, {}),
              HasSubstr("QUEUED   position 2   another job has the device"));
}

TEST(WatchScreen, PreparingShowsTheAmountDone) {
  WatchState state;
  WatchJobResponse event = Snapshot(Job::PREPARING);
  auto* progress = event.mutable_snapshot()->mutable_progress();
  progress->set_phase(ftd::v1::Progress::TOKENIZE);
  progress->set_done(250);
  progress->set_total(1000);
  progress->set_unit("rows");
  state.Apply(event);
  const std::string screen = RenderedScreen(state, {80, 24, false, false});
  EXPECT_THAT(screen, HasSubstr("PREPARING   TOKENIZE"));
  EXPECT_THAT(screen, HasSubstr("250 of 1000 rows"));
}

TEST(WatchScreen, FailureAndLostContactAreNamed) {
  WatchState state = Training();
  state.SetLost("no ftd answers");
  EXPECT_THAT(RenderedScreen(state, {}), HasSubstr("no contact to ftd, trying again"));
  WatchJobResponse event;
  event.mutable_state_change()->set_to(Job::FAILED);
  event.mutable_state_change()->set_failure_reason(ftd::v1::LOSS_DIVERGED);
  state.Apply(event);
  state.SetLost("");
  EXPECT_THAT(RenderedScreen(state, {}), HasSubstr("FAILED   LOSS_DIVERGED"));
  EXPECT_THAT(RenderedScreen(state, {}), Not(HasSubstr("no contact")));
}

TEST(WatchScreen, BeforeAnythingIsKnown) {
  EXPECT_EQ(RenderedScreen(WatchState(), {}), "waiting for ftd");
}

}  // namespace
}  // namespace ftd
