#include "client/watch/queue_screen.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/text/text.h"

namespace ftd {
namespace {

using ftd::v1::Job;
using ftd::v1::WatchQueueResponse;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int64_t kNowSeconds = 100'000;  // 1970-01-02 03:46:40 UTC

class QueueScreenTest : public ::testing::Test {
 protected:
  QueueScreenTest() {
    setenv("TZ", "UTC", 1);
    tzset();
    queue_.mutable_time()->set_seconds(kNowSeconds);
    queue_.set_device("cpu");
  }

  static void Fill(const std::string& name, Job::State state, int64_t age, Job* job) {
    job->set_id(absl::StrCat("ft-", name));
    job->set_name(name);
    job->set_state(state);
    job->mutable_create_time()->set_seconds(kNowSeconds - age);
    job->mutable_spec()->set_mode(ftd::v1::JobSpec::LORA);
    job->mutable_spec()->set_model("/models/SmolLM2-135M/");
  }

  void AddGpu() {
    queue_.set_device("cuda");
    auto* gpu = queue_.add_gpus();
    gpu->set_name("NVIDIA H100 80GB HBM3");
    gpu->set_memory_used_bytes(3'200'000'000);
    gpu->set_memory_total_bytes(85'900'000'000);
    gpu->set_utilization_ratio(0.87);
    gpu->set_power_watts(412.4);
    gpu->set_temperature_celsius(61);
  }

  Job* AddRunning(const std::string& name) {
    auto* running = queue_.add_running();
    Fill(name, Job::RUNNING, 100, running->mutable_job());
    Job* job = running->mutable_job();
    job->mutable_start_time()->set_seconds(kNowSeconds - 80);
    job->mutable_progress()->set_phase(ftd::v1::Progress::TRAIN);
    job->mutable_progress()->set_steps_planned(60);
    job->mutable_last_step()->set_step(30);
    job->mutable_last_step()->set_loss(1.5);
    job->mutable_last_step()->set_tokens_per_second(412);
    running->set_eta_seconds(60);
    return job;
  }

  Job* AddQueued(const std::string& name, int64_t age = 65) {
    Job* job = queue_.add_queued();
    Fill(name, Job::QUEUED, age, job);
    job->set_position(queue_.queued_size());
    job->set_pending_reason(Job::GPU_BUSY);
    queue_.set_queued_total(queue_.queued_size());
    return job;
  }

  Job* AddEnded(const std::string& name, Job::State state) {
    Job* job = queue_.add_ended();
    Fill(name, state, 1000, job);
    job->mutable_end_time()->set_seconds(kNowSeconds - 300);
    return job;
  }

  std::string Render(const ScreenStyle& style, bool lost = false) const {
    return absl::StrJoin(RenderQueueScreen(queue_, lost, "q leaves", style), "\n");
  }

  WatchQueueResponse queue_;
};

// Written by hand from the figures above.
TEST_F(QueueScreenTest, WholePictureInAscii) {
  AddGpu();
  AddRunning("first");
  AddQueued("second")->set_priority(5);
  Job* third = AddQueued("the-third", 4000);
  third->set_pending_reason(Job::BACKOFF);
  third->set_owner("ada");
  queue_.set_held_total(1);
  queue_.set_paused_total(2);
  Job* ended = AddEnded("old", Job::FAILED);
  ended->set_failure_reason(ftd::v1::LOSS_DIVERGED);
  ended->mutable_last_step()->set_step(7);
  ended->mutable_last_step()->set_loss(9.25);
  AddEnded("older", Job::SUCCEEDED);
  EXPECT_EQ(
      Render({100, 30, false, false}),
      "1 running, 2 queued, 1 held, 2 paused   1970-01-02 03:46:40\n"
      "GPU 0  NVIDIA H100 80GB HBM3   87% busy   3.2 GB of 85.9 GB   412 W   61 C\n"
      "\n"
      "first   RUNNING   TRAIN   1m20s   lora on SmolLM2-135M\n"
      "[##############################..............................] step 30/60  50%  ETA 1m00s\n"
      "loss 1.5000   412 tok/s\n"
      "\n"
      "queued\n"
      "1  second     1m05s  priority 5  lora on SmolLM2-135M\n"
      "2  the-third  1h06m              lora on SmolLM2-135M  ada  it waits before the next "
      "attempt\n"
      "\n"
      "ended\n"
      "old    FAILED     5m00s ago  step 7  loss 9.2500  LOSS_DIVERGED\n"
      "older  SUCCEEDED  5m00s ago\n"
      "\n"
      "q leaves");
}

TEST_F(QueueScreenTest, EmptyQueueWithoutAGpu) {
  EXPECT_THAT(RenderQueueScreen(queue_, false, "", {}),
              ElementsAre("0 running, 0 queued   1970-01-02 03:46:40", "CPU", "",
                          "No job runs or waits. `ftctl submit` queues one."));
}

TEST_F(QueueScreenTest, AGpuThatAnswersNothing) {
  queue_.set_device("cuda");
  EXPECT_THAT(Render({}), HasSubstr("GPU   its figures are not available"));
  queue_.add_gpus()->set_name("NVIDIA GB10");
  EXPECT_THAT(Render({}), HasSubstr("\nGPU 0  NVIDIA GB10\n"));
}

TEST_F(QueueScreenTest, PreparingShowsTheAmountDone) {
  Job* job = AddRunning("first");
  queue_.mutable_running(0)->clear_eta_seconds();
  job->set_state(Job::PREPARING);
  job->clear_last_step();
  job->mutable_progress()->set_phase(ftd::v1::Progress::TOKENIZE);
  job->mutable_progress()->set_done(250);
  job->mutable_progress()->set_total(1000);
  job->mutable_progress()->set_unit("rows");
  EXPECT_THAT(Render({80, 24, false, false}), HasSubstr("PREPARING   TOKENIZE"));
  EXPECT_THAT(Render({80, 24, false, false}), HasSubstr(".] 250 of 1000 rows\n"));
}

TEST_F(QueueScreenTest, LongQueuesAreCounted) {
  AddRunning("first");
  for (int i = 1; i <= 50; ++i) AddQueued(absl::StrCat("job-", i));
  queue_.set_queued_total(100);
  AddEnded("old", Job::CANCELLED);
  const std::string all = Render({80, 1000, false, true});
  EXPECT_THAT(all, HasSubstr("50  job-50  1m05s  lora on SmolLM2-135M\nand 50 more\n"));
  const std::string screen = Render({80, 24, false, true});
  // Of 24 rows the head takes 2, the running job 4, the title 2, the ended job 3, the hint 2.
  EXPECT_THAT(screen, HasSubstr("\n10  job-10  1m05s  lora on SmolLM2-135M\nand 90 more\n"));
  EXPECT_THAT(screen, Not(HasSubstr("job-11")));
  EXPECT_THAT(screen, HasSubstr("old  CANCELLED"));
  EXPECT_THAT(screen, HasSubstr("q leaves"));
}

TEST_F(QueueScreenTest, ShortScreensKeepTheRunningJobAndTheHeadOfTheQueue) {
  AddRunning("first");
  for (int i = 1; i <= 10; ++i) AddQueued(absl::StrCat("job-", i));
  AddEnded("old", Job::CANCELLED);
  const std::string screen = Render({80, 13, false, true});
  EXPECT_THAT(screen, HasSubstr("step 30/60"));
  EXPECT_THAT(screen, HasSubstr("1   job-1"));
  EXPECT_THAT(screen, HasSubstr("q leaves"));
  EXPECT_THAT(screen, Not(HasSubstr("ended")));
}

TEST_F(QueueScreenTest, ForeignTextsDoNoHarm) {
  AddRunning("\x1b[2J\x1b]0;x\x07");
  AddQueued("日本語の仕事");
  AddQueued("e\xcc\x81-e\xcc\x81");  // combining accents
  AddQueued("\xff\xfe not utf-8");
  AddQueued("\xe2\x80\xaegnirts\xe2\x80\xac")->set_owner("two\nlines");  // right-to-left override
  AddQueued("🙂");
  const std::string screen = Render({80, 24, false, true});
  EXPECT_THAT(screen, Not(HasSubstr("\x1b")));
  EXPECT_THAT(screen, Not(HasSubstr(std::string{'\xe2', '\x80', '\xae'})));
  EXPECT_THAT(screen, HasSubstr("?[2J?]0;x?   RUNNING"));
  // Aligned by width: the widest names take 12 columns.
  EXPECT_THAT(screen, HasSubstr("\n1  日本語の仕事  1m05s  lora"));
  EXPECT_THAT(screen, HasSubstr("\n2  e\xcc\x81-e\xcc\x81           1m05s  lora"));
  EXPECT_THAT(screen, HasSubstr("\n3  ?? not utf-8  1m05s  lora"));
  EXPECT_THAT(screen, HasSubstr("\n5  🙂            1m05s  lora"));
  EXPECT_THAT(screen, HasSubstr("two lines"));
}

TEST_F(QueueScreenTest, LongNamesLeaveRoomForTheRest) {
  AddQueued(std::string(63, 'x'));
  EXPECT_THAT(Render({80, 24, false, true}),
              HasSubstr("\n1  " + std::string(31, 'x') + "…  1m05s  lora on SmolLM2-135M\n"));
}

TEST_F(QueueScreenTest, EverySizeStaysInside) {
  AddGpu();
  AddRunning("first");
  for (int i = 1; i <= 30; ++i) AddQueued(absl::StrCat("仕事-", i))->set_owner("ada");
  for (int i = 0; i < 5; ++i) AddEnded("old", Job::FAILED);
  for (int columns = 1; columns <= 130; columns += 3) {
    for (int rows = 0; rows <= 45; rows += 3) {
      for (const bool unicode : {true, false}) {
        const auto lines =
            RenderQueueScreen(queue_, true, "q leaves", {columns, rows, false, unicode});
        EXPECT_LE(lines.size(), static_cast<size_t>(rows));
        for (const auto& line : lines)
          EXPECT_LE(DisplayWidth(line), columns) << columns << "x" << rows << ": " << line;
      }
    }
  }
}

TEST_F(QueueScreenTest, ColourOnlyWhenAsked) {
  AddRunning("first");
  EXPECT_THAT(Render({80, 24, false, true}), Not(HasSubstr("\x1b")));
  EXPECT_THAT(Render({80, 24, true, true}), HasSubstr("\x1b[36mRUNNING\x1b[0m"));
}

TEST_F(QueueScreenTest, LostContactIsNamed) {
  EXPECT_THAT(Render({}, true), HasSubstr("no contact to ftd, trying again"));
  EXPECT_THAT(Render({}), Not(HasSubstr("no contact")));
}

}  // namespace
}  // namespace ftd
