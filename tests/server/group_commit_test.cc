#include "server/jobs/group_commit.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "lib/base/error.h"
#include "tests/support/temp_dir.h"

namespace ftd {
namespace {

class GroupCommitTest : public testing::Test {
 protected:
  GroupCommitTest() : database_(*Database::Open(dir_.path() / "test.db")), group_(Open()) {
    group_.SetCommitListener([this](absl::Duration) { ++commits_; });
  }
  Database Open() {
    Database database = *Database::Open(dir_.path() / "test.db");
    EXPECT_TRUE(database.Execute("CREATE TABLE numbers (value INTEGER UNIQUE)").ok());
    return database;
  }
  static absl::Status Add(Database& database, int64_t value) {
    FTD_ASSIGN_OR_RETURN(Statement insert, database.Prepare("INSERT INTO numbers VALUES (?)"));
    return insert.Bind(value).Run();
  }
  int64_t Stored() { return *database_.QueryInt("SELECT count(*) FROM numbers"); }

  TempDir dir_;
  Database database_;
  GroupCommit group_;
  std::atomic<int> commits_ = 0;
};

// The first one holds the rest back until all of them wait; then they are one transaction, of which
// every second one fails and leaves nothing.
TEST_F(GroupCommitTest, ThoseThatWaitShareACommit) {
  constexpr int kOthers = 20;
  std::atomic<int> waiting = 0, noted = 0;
  std::vector<std::thread> threads;
  threads.reserve(kOthers);
  const absl::Status first = group_.Run(
      [&](Database& database) {
        for (int i = 0; i < kOthers; ++i) {
          threads.emplace_back([&, i] {
            ++waiting;
            const absl::Status status = group_.Run(
                [&, i](Database& inner) -> absl::Status {
                  FTD_RETURN_IF_ERROR(Add(inner, i));
                  if (i % 2 != 0) return absl::AbortedError("odd");
                  ++noted;
                  return absl::OkStatus();
                },
                [&] { --noted; });
            EXPECT_EQ(status.ok(), i % 2 == 0) << status;
          });
        }
        while (waiting < kOthers) std::this_thread::yield();
        std::this_thread::sleep_for(std::chrono::milliseconds(300));  // from the count to the queue
        return Add(database, 100);
      },
      [] {});
  EXPECT_TRUE(first.ok()) << first;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Stored(), 1 + kOthers / 2);
  EXPECT_LE(commits_, 6);         // 2, unless threads were late; alone they would be 11
  EXPECT_EQ(noted, kOthers / 2);  // in memory as on the disk, however often they ran
}

// What SQLite gives up takes the changes before it along; they run again.
TEST_F(GroupCommitTest, ATransactionThatIsGivenUpLosesNoneOfTheOthers) {
  std::atomic<int> waiting = 0, undone = 0;
  std::vector<std::thread> threads;
  threads.reserve(10);
  EXPECT_TRUE(group_
                  .Run(
                      [&](Database&) {
                        for (int i = 0; i < 10; ++i) {
                          threads.emplace_back([&, i] {
                            ++waiting;
                            const absl::Status status = group_.Run(
                                [i](Database& database) -> absl::Status {
                                  FTD_RETURN_IF_ERROR(Add(database, i));
                                  if (i != 5) return absl::OkStatus();
                                  // As an error of the disk does.
                                  FTD_RETURN_IF_ERROR(database.Execute("ROLLBACK"));
                                  return absl::UnavailableError("the disk");
                                },
                                [&] { ++undone; });
                            EXPECT_EQ(status.ok(), i != 5) << status;
                          });
                        }
                        while (waiting < 10) std::this_thread::yield();
                        std::this_thread::sleep_for(std::chrono::milliseconds(300));
                        return absl::OkStatus();
                      },
                      [] {})
                  .ok());
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Stored(), 9);
}

TEST_F(GroupCommitTest, WhatChangesNothingIsNoCommit) {
  EXPECT_TRUE(group_.Run([](Database&) { return absl::OkStatus(); }, [] {}).ok());
  EXPECT_EQ(commits_, 0);
  EXPECT_TRUE(group_.Run([](Database& database) { return Add(database, 1); }, [] {}).ok());
  EXPECT_EQ(commits_, 1);
}

}  // namespace
}  // namespace ftd
