#include "server/streams/watch_tail.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "lib/runlog/record_log.h"
#include "lib/runlog/step_log.h"
#include "lib/runlog/timestamp.h"
#include "server/attempts/attempt_files.h"
#include "server/jobs/id.h"
#include "server/streams/watch_source.h"
#include "server/streams/watch_tails.h"
#include "tests/support/expect_status.h"
#include "tests/support/temp_dir.h"

namespace ftd {
namespace {

// A running job, whose attempt the test writes.
class WatchTailTest : public testing::Test {
 protected:
  void SetUp() override {
    state_dir_.emplace(*StateDir::Open(dir_.path()));
    store_ = *JobStore::Open(state_dir_->Database());
    Job job;
    job.id = NewJobId();
    job.spec_json = R"({"mode":"LORA"})";
    job = *store_->Insert(job, std::nullopt, 1000);
    job_id_ = job.id;
    Attempt attempt;
    attempt.number = 1;
    ASSERT_OK(store_->StartAttempt(job, attempt));
    ASSERT_OK(store_->MoveJob(job_id_, {JobState::kPreparing}, {.to = JobState::kRunning}));
    const auto directory = state_dir_->AttemptDir(job_id_, 1);
    std::filesystem::create_directories(directory);
    events_.emplace(*RecordLogWriter::Create(directory / kEventsLog));
    steps_.emplace(*StepLogWriter::Create(directory / kStepsLog, 1, 100000));
    v1::WorkerEvent started;
    started.mutable_started()->set_first_step(1);
    Write(started);
  }

  void Write(v1::WorkerEvent event) {
    *event.mutable_time() = ToTimestamp(absl::Now());
    ASSERT_OK(events_->Append(event.SerializeAsString(), false));
  }
  void Warn(const std::string& text) {
    v1::WorkerEvent event;
    event.mutable_warning()->set_message(text);
    Write(event);
  }
  void TakeSteps(int count) {
    for (int i = 0; i < count; ++i) {
      v1::StepMetrics step;
      step.set_step(++last_step_);
      *step.mutable_time() = ToTimestamp(absl::Now());
      ASSERT_OK(steps_->Append(step));
    }
  }

  WatchReader Reader() { return *WatchReader::Open(*store_, *state_dir_, job_id_, ""); }
  std::unique_ptr<WatchSource> Watch(absl::Duration most_late = absl::Hours(1)) {
    return std::make_unique<WatchSource>(*store_, *state_dir_, Reader(), *tails_.Of(job_id_),
                                         most_late);
  }

  static std::optional<v1::WatchJobResponse> Next(WatchSource& source) {
    auto next = source.NextFromMemory();
    if (!next.has_value()) next = source.Next();
    EXPECT_OK(*next);
    if (!next->ok() || !(**next).has_value()) return std::nullopt;
    grpc::Slice slice;
    EXPECT_TRUE((**next)->DumpToSingleSlice(&slice).ok());
    v1::WatchJobResponse message;
    EXPECT_TRUE(message.ParseFromArray(slice.begin(), static_cast<int>(slice.size())));
    return message;
  }
  static std::vector<v1::WatchJobResponse> All(WatchSource& source) {
    std::vector<v1::WatchJobResponse> all;
    while (auto message = Next(source)) all.push_back(*std::move(message));
    return all;
  }

  // Has the tail read what there is, as the hub does.
  void Tell() {
    const auto tail = *tails_.Of(job_id_);
    tail->Advance();
    AwaitLane();
  }
  // Returns once everything that was posted is done: the lane has one thread.
  void AwaitLane() {
    std::mutex mutex;
    std::condition_variable changed;
    bool done = false;
    lane_.Post([&] {
      const std::lock_guard lock(mutex);
      done = true;
      changed.notify_one();
    });
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return done; });
  }

  TempDir dir_;
  std::optional<StateDir> state_dir_;
  std::unique_ptr<JobStore> store_;
  std::string job_id_;
  std::optional<RecordLogWriter> events_;
  std::optional<StepLogWriter> steps_;
  int64_t last_step_ = 0;
  WatchHub hub_;
  TaskPool lane_{1};
  WatchTails tails_{lane_, hub_};
};

// What a watcher on its own would be sent.
std::vector<std::string> TextsOf(const std::vector<v1::WatchJobResponse>& messages) {
  std::vector<std::string> texts;
  for (const auto& message : messages) {
    if (!message.has_snapshot()) texts.push_back(message.ShortDebugString());
  }
  return texts;
}

TEST_F(WatchTailTest, EverybodySeesWhatOneReaderSees) {
  std::mt19937 random(11);
  const auto number = [&](int most) { return std::uniform_int_distribution(0, most)(random); };
  std::vector<std::unique_ptr<WatchSource>> sources;
  std::vector<std::vector<v1::WatchJobResponse>> seen(6);
  for (size_t i = 0; i < seen.size(); ++i) sources.push_back(Watch());
  // The last one stands still until the tail has left it behind.
  const size_t late = seen.size() - 1;
  EXPECT_FALSE(All(*sources[late]).empty());
  for (int round = 0; round < 200; ++round) {
    TakeSteps(number(40));
    if (number(3) == 0) Warn("careful");
    if (number(2) > 0) Tell();
    for (size_t i = 0; i < late; ++i) {
      for (int count = number(60); count > 0; --count) {
        if (auto message = Next(*sources[i])) seen[i].push_back(*std::move(message));
      }
    }
  }
  Tell();
  ASSERT_GT(last_step_, static_cast<int64_t>(WatchTail::kMostMessages));
  auto alone = Reader();
  std::vector<v1::WatchJobResponse> expected;
  for (auto next = *alone.Next(); next.has_value(); next = *alone.Next()) expected.push_back(*next);
  const auto texts = TextsOf(expected);
  for (size_t i = 0; i < sources.size(); ++i) {
    for (auto& message : All(*sources[i])) seen[i].push_back(std::move(message));
    auto mine = TextsOf(seen[i]);
    if (i == late)
      mine.insert(mine.begin(), texts.begin(), texts.end() - static_cast<int>(mine.size()));
    EXPECT_EQ(mine, texts) << i;
  }
  EXPECT_EQ(hub_.collapsed_steps, 0);
}

// Sums up messages: steps that came, steps that were left out, warnings.
struct Sum {
  int64_t last = 0, left_out = 0, warnings = 0;
  explicit Sum(const std::vector<v1::WatchJobResponse>& messages, int64_t from) : last(from) {
    for (const auto& message : messages) {
      if (message.has_step()) {
        EXPECT_EQ(message.step().step(), last + message.collapsed() + 1);
        last = message.step().step();
        left_out += message.collapsed();
      } else {
        EXPECT_EQ(message.collapsed(), 0);
        warnings += message.event_case() == v1::WatchJobResponse::kWarning ? 1 : 0;
      }
    }
  }
};

TEST_F(WatchTailTest, StepsOfASlowWatcherCollapse) {
  for (const int steps : {300, 5000}) {  // within the tail, and more than it holds
    const auto source = Watch(absl::ZeroDuration());
    const int64_t before = hub_.collapsed_steps, from = last_step_;
    EXPECT_EQ(Sum(All(*source), 0).left_out, 0);  // what is past comes whole
    EXPECT_EQ(hub_.collapsed_steps, before);
    TakeSteps(steps / 2);
    Warn("careful");
    TakeSteps(steps / 2);
    Tell();
    const Sum sum(All(*source), from);
    EXPECT_EQ(sum.last, last_step_);
    EXPECT_EQ(sum.warnings, 1);
    EXPECT_GE(sum.left_out, steps / 2 - 1);
    EXPECT_EQ(hub_.collapsed_steps - before, sum.left_out);
    // It has caught up: the next ones come one by one.
    TakeSteps(static_cast<int>(WatchTail::kFarBehind));
    Tell();
    EXPECT_EQ(Sum(All(*source), sum.last).left_out, 0);
  }
}

TEST_F(WatchTailTest, ABusyWatcherGetsEveryStep) {
  const auto source = Watch(absl::Hours(1));
  All(*source);
  TakeSteps(5000);
  Tell();
  EXPECT_EQ(Sum(All(*source), 0).last, 5000);
  EXPECT_EQ(hub_.collapsed_steps, 0);
}

TEST_F(WatchTailTest, EndsWithTheFinalEventAndForNobodyElse) {
  auto source = Watch(), other = Watch();
  All(*source);
  All(*other);
  const Attempt attempt = store_->Attempts(job_id_)->front();
  ASSERT_OK(store_->EndAttempt(*store_->Get(job_id_), attempt, {.to = JobState::kSucceeded}));
  EXPECT_FALSE(source->AtEnd());
  Tell();
  for (WatchSource* each : {source.get(), other.get()}) {
    EXPECT_FALSE(each->AtEnd());
    EXPECT_TRUE(All(*each).back().has_state_change());
    EXPECT_TRUE(each->AtEnd());
  }
  // The tail goes with the last who holds it.
  const std::weak_ptr<WatchTail> tail = *tails_.Of(job_id_);
  source.reset();
  EXPECT_FALSE(tail.expired());
  other.reset();
  EXPECT_TRUE(tail.expired());
}

}  // namespace
}  // namespace ftd
