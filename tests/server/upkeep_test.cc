// The job store's part for operators, and the copy of the database.
#include "server/jobs/upkeep.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <thread>

#include "lib/base/error.h"
#include "lib/base/file.h"
#include "server/jobs/database_copy.h"
#include "server/jobs/id.h"
#include "server/jobs/job_store.h"
#include "tests/support/temp_dir.h"

namespace ftd {
namespace {

class UpkeepTest : public testing::Test {
 protected:
  void SetUp() override { Open(path()); }
  void Open(const std::string& path) {
    store_ = nullptr;
    auto store = JobStore::Open(path);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  std::string path() const { return dir_.path() / "ftd.db"; }
  Job Insert(const std::string& upload = "/old/state/uploads/x") {
    Job job;
    job.id = NewJobId();
    job.spec_json = R"({"mode":"LORA"})";
    job.model_dir = "/old/state/results/base";
    job.dataset_path = upload;
    job.owner = "ada";
    return *store_->Insert(job, std::nullopt, 1000);
  }

  TempDir dir_;
  std::unique_ptr<JobStore> store_;
};

TEST_F(UpkeepTest, ADrainHoldsTheQueueAlsoAfterReopening) {
  const Job job = Insert();
  EXPECT_FALSE(store_->drained());
  const QueueDrain drain{.message = "new disk", .owner = "ada", .time = absl::FromUnixSeconds(7)};
  const int64_t before = store_->changes();
  ASSERT_TRUE(store_->SetDrain(drain).ok());
  EXPECT_GT(store_->changes(), before) << "whoever shows the queue has to look again";
  const auto refused = store_->StartAttempt(job, {.number = 1});
  EXPECT_EQ(ReasonOf(refused.status()), Reason::kStateConflict);
  Open(path());
  EXPECT_TRUE(store_->drained());
  const auto found = store_->GetDrain();
  ASSERT_TRUE(found.ok() && found->has_value());
  EXPECT_EQ((*found)->message, "new disk");
  EXPECT_EQ((*found)->owner, "ada");
  EXPECT_EQ((*found)->time, drain.time);
  EXPECT_EQ(ReasonOf(store_->StartAttempt(job, {.number = 1}).status()), Reason::kStateConflict);
  ASSERT_TRUE(store_->SetDrain(std::nullopt).ok());
  EXPECT_TRUE(store_->StartAttempt(job, {.number = 1}).ok());
  EXPECT_FALSE((*store_->GetDrain()).has_value());
}

TEST_F(UpkeepTest, RemovalsAddUpAndGoWithTheJob) {
  const Job job = Insert();
  const auto record = [&](RemovalKind kind, int64_t bytes, int64_t seconds) {
    return *store_->RecordRemoval(
        job.id,
        {.kind = kind, .bytes = bytes, .time = absl::FromUnixSeconds(seconds), .owner = "x"});
  };
  EXPECT_FALSE(record(RemovalKind::kLogs, 1, 1)) << "the job has not ended";
  ASSERT_TRUE(store_->MoveJob(job.id, {JobState::kQueued}, {.to = JobState::kCancelled}).ok());
  EXPECT_TRUE(record(RemovalKind::kCheckpoints, 5, 1));
  EXPECT_TRUE(record(RemovalKind::kCheckpoints, 6, 2));
  EXPECT_TRUE(record(RemovalKind::kResult, 9, 3));
  EXPECT_TRUE(record(RemovalKind::kResult, 9, 4)) << "completed by the next daemon";
  Open(path());
  auto removals = *store_->Removals(job.id);
  ASSERT_EQ(removals.size(), 2);
  EXPECT_EQ(removals[0].kind, RemovalKind::kCheckpoints);
  EXPECT_EQ(removals[0].bytes, 11);
  EXPECT_EQ(removals[0].time, absl::FromUnixSeconds(2));
  EXPECT_EQ(removals[1].bytes, 9);
  ASSERT_TRUE(store_->ForgetRemoval(job.id, RemovalKind::kResult).ok());
  EXPECT_EQ(store_->Removals(job.id)->size(), 1);
  ASSERT_TRUE(store_->Delete(job.id).ok());
  EXPECT_TRUE(store_->Removals(job.id)->empty());
  EXPECT_FALSE(*store_->RecordRemoval(job.id, {}));
}

// Else a restored ftd would remove the files of the one that it was copied from, or follow its
// worker.
TEST_F(UpkeepTest, InAnotherPlacePathsAreOfThatPlaceAndNoWorkerIsOurs) {
  ASSERT_TRUE(store_->SetPlace("/old/state").ok());
  const Job job = Insert(), other = Insert("/old/statement/x");
  Attempt attempt{.number = 1};
  attempt.resumed_from = "/old/state/jobs/x/checkpoint-1";
  ASSERT_TRUE(store_->StartAttempt(job, attempt).ok());
  attempt.pid = getpid();
  attempt.pid_start = 1;
  attempt.boot_id = "boot";
  ASSERT_TRUE(store_->RecordWorker(job.id, attempt).ok());
  ASSERT_TRUE(store_->SetPlace("/old/state").ok());
  EXPECT_EQ(store_->Attempts(job.id)->at(0).pid, getpid()) << "the same place";
  ASSERT_TRUE(store_->SetPlace("/new").ok());
  EXPECT_EQ(store_->Get(job.id)->dataset_path, "/new/uploads/x");
  EXPECT_EQ(store_->Get(job.id)->model_dir, "/new/results/base");
  EXPECT_EQ(store_->Get(other.id)->dataset_path, "/old/statement/x") << "not below it";
  const Attempt moved = store_->Attempts(job.id)->at(0);
  EXPECT_EQ(moved.resumed_from, "/new/jobs/x/checkpoint-1");
  EXPECT_EQ(moved.pid, 0);
  EXPECT_EQ(moved.boot_id, "");
}

TEST_F(UpkeepTest, ACopyIsOfOneMomentWhileOthersWrite) {
  std::atomic<bool> writing{true};
  std::atomic<int> written{0};
  std::thread writer([&] {
    while (writing) {
      Insert();
      ++written;
    }
  });
  while (written < 20) std::this_thread::yield();
  const auto copy = CopyDatabase(path(), dir_.path(), [] { return true; });
  writing = false;
  writer.join();
  ASSERT_TRUE(copy.ok()) << copy.status();
  struct stat info;
  ASSERT_EQ(fstat(copy->get(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
  EXPECT_EQ(info.st_nlink, 0U) << "it has no name";
  const auto bytes = ReadFile(*copy, "the copy");
  ASSERT_TRUE(bytes.ok());
  const std::string restored = dir_.path() / "restored.db";
  ASSERT_TRUE(WriteFileAtomically(restored, *bytes).ok());
  auto database = Database::Open(restored);
  ASSERT_TRUE(database.ok());
  EXPECT_TRUE(database->QuickCheck().ok());
  EXPECT_GE(*database->QueryInt("SELECT count(*) FROM jobs"), 20);
  EXPECT_EQ(
      *database->QueryInt("SELECT (SELECT count(*) FROM jobs) - (SELECT count(*) FROM events)"), 0)
      << "each job came with its first event";
}

TEST_F(UpkeepTest, ACopyThatIsBrokenOffLeavesNothing) {
  const auto copy = CopyDatabase(path(), dir_.path(), [] { return false; });
  EXPECT_TRUE(absl::IsCancelled(copy.status())) << copy.status();
  for (const auto& entry : std::filesystem::directory_iterator(dir_.path()))
    EXPECT_EQ(entry.path().filename().string().find(kUnfinishedMark), std::string::npos);
}

}  // namespace
}  // namespace ftd
