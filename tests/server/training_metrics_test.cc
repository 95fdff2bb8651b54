// The series of jobs that train: what they say, and that a thousand jobs leave no more than one.
#include "server/metrics/training_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace ftd {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Job JobNamed(const std::string& id) {
  Job job;
  job.id = id;
  job.spec_json = "{}";
  return job;
}

AttemptNews Steps(int64_t first, int64_t last) {
  AttemptNews news;
  for (int64_t step = first; step <= last; ++step) {
    v1::StepMetrics& metrics = news.steps.emplace_back();
    metrics.set_step(step);
    metrics.set_loss(2.5);
    metrics.set_grad_norm(1);
    metrics.set_step_seconds(0.2);
    metrics.set_samples(4);
    metrics.set_tokens_total(100 * step);
  }
  return news;
}

Attempt AttemptNumber(int32_t number) {
  Attempt attempt;
  attempt.number = number;
  return attempt;
}

std::set<std::string> JobsOf(const TrainingMetrics& metrics) {
  std::set<std::string> jobs;
  for (const prometheus::MetricFamily& family : metrics.Collect()) {
    for (const prometheus::ClientMetric& metric : family.metric) {
      for (const auto& label : metric.label) {
        if (label.name == "ft_job") jobs.insert(label.value);
      }
    }
  }
  return jobs;
}

double Value(const TrainingMetrics& metrics, const std::string& name) {
  for (const prometheus::MetricFamily& family : metrics.Collect()) {
    if (family.name == name && !family.metric.empty()) return family.metric.back().counter.value;
  }
  return NAN;
}

TEST(TrainingMetrics, MfuIsThereWhereItIsKnown) {
  TrainingMetrics metrics;
  AttemptNews news = Steps(1, 1);
  metrics.OnNews(JobNamed("unknown"), AttemptNumber(1), news);
  EXPECT_TRUE(std::isnan(Value(metrics, "ftd_train_mfu_ratio")));
  news.steps.front().set_mfu(0.4);
  metrics.OnNews(JobNamed("known"), AttemptNumber(1), news);
  for (const prometheus::MetricFamily& family : metrics.Collect()) {
    if (family.name != "ftd_train_mfu_ratio") continue;
    ASSERT_EQ(family.metric.size(), 1u);
    EXPECT_EQ(family.metric.front().gauge.value, 0.4);
  }
}

TEST(TrainingMetrics, AThousandJobsLeaveTheLastOnes) {
  TrainingMetrics metrics;
  for (int i = 0; i < 1000; ++i) {
    const Job job = JobNamed(absl::StrCat("job", i));
    metrics.OnNews(job, AttemptNumber(1), Steps(1, 3));
    ASSERT_LE(JobsOf(metrics).size(), 4);
    metrics.OnAttemptEnded(job);
  }
  EXPECT_THAT(JobsOf(metrics), ElementsAre("job997", "job998", "job999"));
}

TEST(TrainingMetrics, TheRunningJobStaysHoweverManyEnd) {
  TrainingMetrics metrics;
  metrics.OnNews(JobNamed("runs"), AttemptNumber(1), Steps(1, 3));
  for (int i = 0; i < 10; ++i) {
    const Job job = JobNamed(absl::StrCat("job", i));
    metrics.OnNews(job, AttemptNumber(1), Steps(1, 1));
    metrics.OnAttemptEnded(job);
  }
  EXPECT_THAT(JobsOf(metrics), ElementsAre("job7", "job8", "job9", "runs"));
}

TEST(TrainingMetrics, AJobThatGoesOnIsOneThatRuns) {
  TrainingMetrics metrics;
  const Job job = JobNamed("paused");
  metrics.OnNews(job, AttemptNumber(1), Steps(1, 3));
  metrics.OnAttemptEnded(job);
  metrics.OnNews(job, AttemptNumber(2), Steps(4, 5));
  for (int i = 0; i < 10; ++i) {
    const Job other = JobNamed(absl::StrCat("job", i));
    metrics.OnNews(other, AttemptNumber(1), Steps(1, 1));
    metrics.OnAttemptEnded(other);
  }
  EXPECT_EQ(JobsOf(metrics).count("paused"), 1);
}

TEST(TrainingMetrics, CountsOfANewAttemptStartAgain) {
  TrainingMetrics metrics;
  metrics.OnNews(JobNamed("a"), AttemptNumber(1), Steps(1, 3));
  EXPECT_EQ(Value(metrics, "ftd_train_samples_total"), 12);
  metrics.OnNews(JobNamed("a"), AttemptNumber(2), Steps(4, 4));
  EXPECT_EQ(Value(metrics, "ftd_train_samples_total"), 4);
}

TEST(TrainingMetrics, ALossThatIsNoNumberIsCounted) {
  TrainingMetrics metrics;
  AttemptNews news = Steps(1, 4);
  news.steps[1].set_loss(NAN);
  news.steps[2].set_grad_norm(INFINITY);
  metrics.OnNews(JobNamed("a"), AttemptNumber(1), news);
  EXPECT_EQ(Value(metrics, "ftd_train_nonfinite_steps_total"), 2);
}

TEST(TrainingMetrics, NothingBeforeTheFirstJob) {
  EXPECT_THAT(JobsOf(TrainingMetrics()), IsEmpty());
}

}  // namespace
}  // namespace ftd
