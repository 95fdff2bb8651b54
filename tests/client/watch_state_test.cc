#include "client/watch/watch_state.h"

#include <gtest/gtest.h>

#include <cmath>

namespace ftd {
namespace {

using ftd::v1::Job;
using ftd::v1::WatchJobResponse;

WatchJobResponse SnapshotIn(Job::State state) {
  WatchJobResponse event;
  event.mutable_snapshot()->set_id("ft-1");
  event.mutable_snapshot()->set_state(state);
  event.mutable_snapshot()->mutable_progress()->set_steps_planned(100);
  return event;
}

WatchJobResponse Step(int64_t number, double loss, double seconds = 2) {
  WatchJobResponse event;
  event.mutable_step()->set_step(number);
  event.mutable_step()->set_loss(loss);
  event.mutable_step()->set_step_seconds(seconds);
  return event;
}

WatchJobResponse RolledBack(int64_t step) {
  WatchJobResponse event;
  event.set_rolled_back_to_step(step);
  return event;
}

std::vector<double> Losses(const WatchState& state) {
  std::vector<double> losses;
  for (const StepLoss& at : state.losses()) losses.push_back(at.loss);
  return losses;
}

TEST(WatchState, RollBackForgetsLaterSteps) {
  WatchState state;
  state.Apply(SnapshotIn(Job::RUNNING));
  for (int i = 1; i <= 5; ++i) state.Apply(Step(i, i));
  state.Apply(RolledBack(3));
  EXPECT_EQ(Losses(state), (std::vector<double>{1, 2, 3}));
  EXPECT_EQ(state.step().step(), 3);
  state.Apply(Step(4, 40));
  EXPECT_EQ(Losses(state), (std::vector<double>{1, 2, 3, 40}));
  state.Apply(RolledBack(0));
  EXPECT_FALSE(state.has_step());
}

WatchJobResponse Evaluated(int64_t step, double loss) {
  WatchJobResponse event;
  event.mutable_evaluation()->set_step(step);
  event.mutable_evaluation()->set_loss(loss);
  return event;
}

WatchJobResponse Sampled(int64_t step, int32_t index, const std::string& answer) {
  WatchJobResponse event;
  event.mutable_sample()->set_step(step);
  event.mutable_sample()->set_index(index);
  event.mutable_sample()->set_text(answer);
  return event;
}

std::vector<std::string> Answers(const WatchState& state) {
  std::vector<std::string> answers;
  for (const auto& sample : state.job().last_samples()) answers.push_back(sample.text());
  return answers;
}

TEST(WatchState, SamplesAreThoseOfTheNewestStep) {
  WatchState state;
  WatchJobResponse snapshot = SnapshotIn(Job::RUNNING);
  *snapshot.mutable_snapshot()->add_last_samples() = Sampled(90, 0, "of the snapshot").sample();
  state.Apply(snapshot);
  EXPECT_EQ(Answers(state), (std::vector<std::string>{"of the snapshot"}));
  for (int32_t i : {0, 1}) state.Apply(Sampled(10, i, i == 0 ? "a" : "b"));
  EXPECT_EQ(Answers(state), (std::vector<std::string>{"a", "b"}));
  state.Apply(Sampled(20, 0, "c"));
  EXPECT_EQ(Answers(state), (std::vector<std::string>{"c"}));
  // Told again by an attempt that could not know of it.
  state.Apply(Sampled(20, 0, "d"));
  EXPECT_EQ(Answers(state), (std::vector<std::string>{"d"}));
  state.Apply(RolledBack(20));
  EXPECT_EQ(Answers(state), (std::vector<std::string>{"d"}));
  state.Apply(RolledBack(15));
  EXPECT_EQ(Answers(state), (std::vector<std::string>{}));
}

TEST(WatchState, RollBackForgetsEvaluations) {
  WatchState state;
  state.Apply(SnapshotIn(Job::RUNNING));
  for (int i = 1; i <= 4; ++i) state.Apply(Evaluated(int64_t{10} * i, i));
  state.Apply(RolledBack(30));
  ASSERT_EQ(state.evaluations().size(), 3u);
  state.Apply(Evaluated(30, 9));  // made again after a stop
  ASSERT_EQ(state.evaluations().size(), 3u);
  EXPECT_EQ(state.evaluations().back().loss(), 9);
}

TEST(WatchState, SnapshotStartsAnew) {
  WatchState state;
  state.Apply(SnapshotIn(Job::RUNNING));
  state.Apply(Step(1, 9));
  state.Apply(SnapshotIn(Job::RUNNING));
  EXPECT_FALSE(state.has_step());
}

TEST(WatchState, EtaOfThisAttempt) {
  WatchState state;
  state.Apply(SnapshotIn(Job::RUNNING));
  EXPECT_FALSE(state.eta_seconds().has_value());
  state.Apply(Step(60, 1, 1.0));
  state.Apply(Step(61, 1, 2.0));
  EXPECT_DOUBLE_EQ(*state.eta_seconds(), 39 * 1.5);
  state.Apply(SnapshotIn(Job::SUCCEEDED));
  state.Apply(Step(100, 1, 1.0));
  EXPECT_FALSE(state.eta_seconds().has_value()) << "a job that has ended has no ETA";
}

// The debiased exponential mean, written out: for losses 2, 4 and weight 0.9 it is (0.09·2 + 0.1·4)
// / (1 − 0.81).
TEST(WatchState, SmoothedLoss) {
  constexpr double kOfTwo = (0.09 * 2 + 0.1 * 4) / 0.19;
  WatchState state;
  state.Apply(SnapshotIn(Job::RUNNING));
  state.Apply(Step(1, std::nan("")));
  EXPECT_TRUE(std::isnan(state.losses().back().smoothed));
  state.Apply(Step(2, 2));
  EXPECT_NEAR(state.losses().back().smoothed, 2, 1e-12);
  state.Apply(Step(3, 4));
  EXPECT_NEAR(state.losses().back().smoothed, kOfTwo, 1e-12);
  state.Apply(Step(4, std::nan("")));
  EXPECT_NEAR(state.losses().back().smoothed, kOfTwo, 1e-12);
  state.Apply(RolledBack(2));
  state.Apply(Step(3, 4));
  EXPECT_NEAR(state.losses().back().smoothed, kOfTwo, 1e-12) << "what was undone counts no more";
}

TEST(WatchState, StateChangeReplacesWhatItTellsOf) {
  WatchState state;
  WatchJobResponse queued = SnapshotIn(Job::QUEUED);
  queued.mutable_snapshot()->set_position(3);
  queued.mutable_snapshot()->set_pending_reason(Job::GPU_BUSY);
  state.Apply(queued);
  WatchJobResponse event;
  auto* change = event.mutable_state_change();
  change->set_to(Job::FAILED);
  change->set_message("rows.jsonl line 17");
  change->set_failure_reason(ftd::v1::DATASET_INVALID);
  change->set_attempt(2);
  state.Apply(event);
  EXPECT_EQ(state.job().state(), Job::FAILED);
  EXPECT_EQ(state.job().message(), "rows.jsonl line 17");
  EXPECT_EQ(state.job().position(), 0);
  EXPECT_EQ(state.job().pending_reason(), Job::PENDING_REASON_UNSPECIFIED);
  EXPECT_EQ(state.attempt(), 2);
}

TEST(WatchState, KeepsTheNewestTwentyWarnings) {
  WatchState state;
  state.Apply(SnapshotIn(Job::RUNNING));
  for (int i = 1; i <= 25; ++i) {
    WatchJobResponse event;
    event.set_warning(std::to_string(i));
    state.Apply(event);
  }
  ASSERT_EQ(state.job().warnings_size(), 20);
  EXPECT_EQ(state.job().warnings(0), "6");
  EXPECT_EQ(state.job().warnings(19), "25");
}

}  // namespace
}  // namespace ftd
