// The rule that picks what goes.
#include "server/requests/retention.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace ftd {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);
constexpr absl::Duration kDay = absl::Hours(24);

RetainedJob Ended(const std::string& id, absl::Duration ago, const std::string& owner = "ada") {
  return {.id = id,
          .name = "name-of-" + id,
          .owner = owner,
          .end_time = kNow - ago,
          .uploads = {},
          .reads = {}};
}

RetainedJob Waiting(const std::string& id, const std::string& owner = "ada") {
  RetainedJob job = Ended(id, absl::ZeroDuration(), owner);
  job.end_time.reset();
  return job;
}

StoredFile Checkpoint(const std::string& job, int64_t rank) {
  return {.kind = RemovalKind::kCheckpoints,
          .job = job,
          .path = "/state/jobs/" + job + "/attempts/1/checkpoint-" + std::to_string(rank),
          .rank = rank};
}

StoredFile Result(const std::string& job, int64_t bytes = 0) {
  return {
      .kind = RemovalKind::kResult, .job = job, .path = "/state/results/" + job, .bytes = bytes};
}

StoredFile Logs(const std::string& job) {
  return {.kind = RemovalKind::kLogs, .job = job, .path = "/state/jobs/" + job + "/attempts"};
}

StoredFile Upload(const std::string& name, absl::Duration ago) {
  return {.kind = RemovalKind::kUpload,
          .job = {},
          .path = "/state/uploads/" + name,
          .time = kNow - ago};
}

// The last parts of what goes, in their order.
std::vector<std::string> Gone(const std::vector<RetainedJob>& jobs,
                              const std::vector<StoredFile>& files,
                              const RetentionSettings& settings,
                              const std::optional<std::string>& only_owner = std::nullopt) {
  std::vector<std::string> gone;
  for (const Unneeded& unneeded : ChooseUnneeded(jobs, files, settings, kNow, only_owner))
    gone.push_back(unneeded.file.path.filename());
  return gone;
}

TEST(Retention, WhatAJobBeganWithStaysAsLongAsItsLastCheckpoint) {
  StoredFile start = Checkpoint("a", 0);
  start.path = "/state/jobs/a/start";
  start.start = true;
  const std::vector<StoredFile> files = {start, Checkpoint("a", 1), Checkpoint("a", 2)};
  const RetentionSettings settings{.checkpoints = 7 * kDay};
  EXPECT_THAT(Gone({Ended("a", 6 * kDay)}, files, settings), ElementsAre("checkpoint-1"));
  EXPECT_THAT(Gone({Ended("a", 8 * kDay)}, files, settings),
              ElementsAre("start", "checkpoint-1", "checkpoint-2"));
  EXPECT_THAT(Gone({Ended("a", 6 * kDay)}, {start}, settings), IsEmpty());
}

TEST(Retention, KeepsTheLastCheckpointForAWhileAndTheOthersNotAtAll) {
  const RetentionSettings week{.checkpoints = 7 * kDay};
  const std::vector<StoredFile> files = {Checkpoint("a", 10), Checkpoint("a", 30),
                                         Checkpoint("a", 20)};
  EXPECT_THAT(Gone({Ended("a", absl::ZeroDuration())}, files, week),
              ElementsAre("checkpoint-10", "checkpoint-20"));
  EXPECT_THAT(Gone({Ended("a", 7 * kDay - absl::Seconds(1))}, files, week),
              ElementsAre("checkpoint-10", "checkpoint-20"));
  EXPECT_THAT(Gone({Ended("a", 7 * kDay)}, files, week),
              ElementsAre("checkpoint-10", "checkpoint-30", "checkpoint-20"));
  EXPECT_THAT(Gone({Ended("a", 1000 * kDay)}, files, {}), IsEmpty());
}

TEST(Retention, TakesNothingFromAJobThatHasNotEndedOrIsNotThere) {
  const RetentionSettings at_once{.checkpoints = absl::ZeroDuration(),
                                  .logs = absl::ZeroDuration(),
                                  .uploads = absl::ZeroDuration(),
                                  .results = absl::ZeroDuration(),
                                  .result_bytes = 0};
  const std::vector<StoredFile> files = {Checkpoint("a", 1), Checkpoint("a", 2), Logs("a"),
                                         Result("a", 100)};
  EXPECT_THAT(Gone({Waiting("a")}, files, at_once), IsEmpty());
  EXPECT_THAT(Gone({Ended("b", kDay)}, files, at_once), IsEmpty());
  // The clock was set back: it ends in the future.
  EXPECT_THAT(Gone({Ended("a", -kDay)}, {Logs("a"), Checkpoint("a", 2)}, at_once), IsEmpty());
  EXPECT_THAT(Gone({Ended("a", kDay)}, files, at_once),
              ElementsAre("checkpoint-1", "checkpoint-2", "attempts", "a"));
}

TEST(Retention, TheOldestResultsGoUntilTheOthersFit) {
  const std::vector<RetainedJob> jobs = {Ended("new", kDay), Ended("old", 3 * kDay),
                                         Ended("middle", 2 * kDay)};
  const std::vector<StoredFile> files = {Result("new", 50), Result("old", 50),
                                         Result("middle", 50)};
  EXPECT_THAT(Gone(jobs, files, {.result_bytes = 150}), IsEmpty());
  EXPECT_THAT(Gone(jobs, files, {.result_bytes = 149}), ElementsAre("old"));
  EXPECT_THAT(Gone(jobs, files, {.result_bytes = 60}), ElementsAre("old", "middle"));
  // What goes for its age makes room for the others.
  EXPECT_THAT(Gone(jobs, files, {.results = 3 * kDay, .result_bytes = 100}), ElementsAre("old"));
}

TEST(Retention, AResultThatAJobReadsStaysAndTakesItsRoom) {
  RetainedJob reader = Waiting("reader");
  reader.reads = {"/models/base", "/state/results/old/adapter"};
  const std::vector<RetainedJob> jobs = {Ended("new", kDay), Ended("old", 3 * kDay), reader};
  const std::vector<StoredFile> files = {Result("new", 50), Result("old", 50)};
  EXPECT_THAT(Gone(jobs, files, {.results = kDay}), ElementsAre("new"));
  EXPECT_THAT(Gone(jobs, files, {.result_bytes = 60}), ElementsAre("new"));
  // Names are compared by whole parts.
  EXPECT_THAT(Gone({Ended("ol", kDay), reader}, {Result("ol")}, {.results = kDay}),
              ElementsAre("ol"));
}

TEST(Retention, ACheckpointThatAJobReadsStays) {
  RetainedJob reader = Waiting("reader");
  reader.reads = {Checkpoint("a", 10).path};
  EXPECT_THAT(Gone({Ended("a", 9 * kDay), reader}, {Checkpoint("a", 10), Checkpoint("a", 20)},
                   {.checkpoints = 7 * kDay}),
              ElementsAre("checkpoint-20"));
}

TEST(Retention, AnUploadGoesSomeTimeAfterItsLastJob) {
  RetainedJob first = Ended("first", 9 * kDay), last = Ended("last", 3 * kDay),
              waiting = Waiting("waiting");
  first.uploads = last.uploads = waiting.uploads = {"rows"};
  const std::vector<StoredFile> rows = {Upload("rows", 20 * kDay)};
  EXPECT_THAT(Gone({first, last}, rows, {.uploads = 3 * kDay}), ElementsAre("rows"));
  EXPECT_THAT(Gone({first, last}, rows, {.uploads = 4 * kDay}), IsEmpty());
  EXPECT_THAT(Gone({first, last, waiting}, rows, {.uploads = absl::ZeroDuration()}), IsEmpty());
  EXPECT_THAT(Gone({first, last}, rows, {}), IsEmpty());
  // Sent once more since: somebody is about to submit.
  EXPECT_THAT(Gone({first, last}, {Upload("rows", kDay)}, {.uploads = 2 * kDay}), IsEmpty());
  // Its job may be on the way.
  EXPECT_THAT(Gone({}, {Upload("rows", kUnusedUpload - absl::Seconds(1))},
                   {.uploads = absl::ZeroDuration()}),
              IsEmpty());
  EXPECT_THAT(Gone({}, {Upload("rows", kUnusedUpload)}, {.uploads = absl::ZeroDuration()}),
              ElementsAre("rows"));
}

TEST(Retention, AnOwnerPrunesOnlyWhatIsOfItsOwnJobs) {
  const RetentionSettings at_once{.logs = absl::ZeroDuration(), .uploads = absl::ZeroDuration()};
  RetainedJob own = Ended("own", kDay, "ada"), other = Ended("other", kDay, "bob"),
              nobodys = Ended("nobodys", kDay, "");
  own.uploads = {"mine", "shared"};
  other.uploads = {"shared", "his"};
  const std::vector<RetainedJob> jobs = {own, other, nobodys};
  const std::vector<StoredFile> files = {
      Upload("mine", kDay), Upload("shared", kDay), Upload("his", kDay), Upload("unread", kDay),
      Logs("own"),          Logs("other"),          Logs("nobodys")};
  EXPECT_THAT(Gone(jobs, files, at_once, "ada"), ElementsAre("mine", "attempts"));
  EXPECT_THAT(Gone(jobs, files, at_once, "bob"), ElementsAre("his", "attempts"));
  EXPECT_THAT(Gone(jobs, files, at_once, ""), IsEmpty());
  EXPECT_EQ(Gone(jobs, files, at_once).size(), files.size());
}

TEST(Retention, TheOldestOfAllGoesAlsoWhereAnOwnerAsks) {
  const std::vector<RetainedJob> jobs = {Ended("a", 3 * kDay, "ada"), Ended("b", kDay, "bob")};
  const std::vector<StoredFile> files = {Result("a", 50), Result("b", 50)};
  EXPECT_THAT(Gone(jobs, files, {.result_bytes = 60}, "bob"), IsEmpty());
  EXPECT_THAT(Gone(jobs, files, {.result_bytes = 60}, "ada"), ElementsAre("a"));
}

TEST(Retention, WhatWasBegunIsCompletedWhateverTheSettingsSay) {
  StoredFile result = Result("a");
  result.begun = true;
  const auto chosen = ChooseUnneeded({Ended("a", kDay)}, {result}, {}, kNow, std::nullopt);
  ASSERT_EQ(chosen.size(), 1);
  EXPECT_EQ(chosen[0].since, kNow - kDay);
  EXPECT_EQ(chosen[0].job_name, "name-of-a");
}

TEST(Retention, ReadsTheSettings) {
  const RetentionSettings usual = RetentionOf(Options());
  EXPECT_EQ(usual.checkpoints, 7 * kDay);
  EXPECT_EQ(usual.uploads, 7 * kDay);
  EXPECT_FALSE(usual.logs.has_value() || usual.results.has_value() ||
               usual.result_bytes.has_value());
  Options options;
  options.retention_checkpoint_days = -1;
  options.retention_result_days = 0;
  options.retention_result_mib = 3;
  EXPECT_FALSE(RetentionOf(options).checkpoints.has_value());
  EXPECT_EQ(RetentionOf(options).results, absl::ZeroDuration());
  EXPECT_EQ(RetentionOf(options).result_bytes, 3 << 20);
}

}  // namespace
}  // namespace ftd
