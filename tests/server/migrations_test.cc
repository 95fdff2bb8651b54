#include "server/jobs/migrations.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "lib/base/error.h"
#include "lib/base/file.h"
#include "server/jobs/job_store.h"
#include "tests/support/temp_dir.h"

namespace ftd {
namespace {

constexpr char kAddColumn[] = "ALTER TABLE jobs ADD COLUMN colour TEXT NOT NULL DEFAULT 'blue'";
constexpr char kBroken[] = "ALTER TABLE jobs ADD COLUMN size TEXT; SELECT no_such_function()";

class MigrationsTest : public testing::Test {
 protected:
  std::string path() const { return dir_.path() / "ftd.db"; }
  // A database of version 1 with one job in it.
  void MakeVersion1() {
    auto database = Database::Open(path());
    ASSERT_TRUE(Migrate(*database, path(), Migrations().first(1)).ok());
    ASSERT_TRUE(
        database
            ->Execute("INSERT INTO jobs (id, state, spec, model_dir, dataset_path, labels, "
                      "priority, owner, create_time) VALUES ('ft-one', 'QUEUED', '{}', '/m', "
                      "'/d', '{}', 0, '', 1)")
            .ok());
  }
  static std::vector<const char*> Plus(const char* migration) {
    std::vector<const char*> all(Migrations().begin(), Migrations().end());
    all.push_back(migration);
    return all;
  }
  TempDir dir_;
};

TEST_F(MigrationsTest, EveryVersionIsReachedFromTheFirst) {
  auto database = Database::Open(path());
  ASSERT_TRUE(Migrate(*database, path(), Migrations()).ok());
  EXPECT_EQ(*database->QueryInt("PRAGMA user_version"), static_cast<int64_t>(Migrations().size()));
  EXPECT_FALSE(std::filesystem::exists(path() + ".backup-v0"))
      << "an empty database needs no backup";
}

TEST_F(MigrationsTest, AnOldDatabaseIsBackedUpAndKeepsItsRows) {
  MakeVersion1();
  auto database = Database::Open(path());
  const auto migrations = Plus(kAddColumn);
  ASSERT_TRUE(Migrate(*database, path(), migrations).ok());
  EXPECT_EQ(*database->QueryInt("PRAGMA user_version"), static_cast<int64_t>(migrations.size()));
  EXPECT_EQ(*database->QueryInt("SELECT count(*) FROM jobs WHERE colour = 'blue'"), 1);
  auto backup = Database::Open(path() + ".backup-v1");
  EXPECT_EQ(*backup->QueryInt("PRAGMA user_version"), 1);
  EXPECT_EQ(*backup->QueryInt("SELECT count(*) FROM jobs"), 1);
}

TEST_F(MigrationsTest, TheFirstReleasesJobsAreTakenOver) {
  MakeVersion1();
  const auto store = JobStore::Open(path());
  ASSERT_TRUE(store.ok()) << store.status();
  const auto job = (*store)->Get("ft-one");
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->model_dir, "/m");
  EXPECT_EQ(job->sources_json, "") << "it needs nothing from the hub";
}

TEST_F(MigrationsTest, AFailedStepChangesNothing) {
  MakeVersion1();
  auto database = Database::Open(path());
  EXPECT_FALSE(Migrate(*database, path(), Plus(kBroken)).ok());
  EXPECT_EQ(*database->QueryInt("PRAGMA user_version"), static_cast<int64_t>(Migrations().size()));
  EXPECT_EQ(
      *database->QueryInt("SELECT count(*) FROM pragma_table_info('jobs') WHERE name = 'size'"), 0);
}

TEST_F(MigrationsTest, ANewerSchemaIsRefused) {
  MakeVersion1();
  {
    auto database = Database::Open(path());
    ASSERT_TRUE(Migrate(*database, path(), Plus(kAddColumn)).ok());
  }
  const auto store = JobStore::Open(path());
  EXPECT_EQ(ReasonNameOf(store.status()), "SCHEMA_NEWER") << store.status();
}

TEST_F(MigrationsTest, AFileThatIsNoDatabaseIsRefused) {
  ASSERT_TRUE(WriteFileAtomically(path(), std::string(5000, 'x')).ok());
  EXPECT_EQ(ReasonNameOf(JobStore::Open(path()).status()), "DB_CORRUPT");
}

TEST_F(MigrationsTest, TheConnectionIsSetUpToKeepWhatItAcknowledges) {
  auto database = Database::Open(path());
  EXPECT_EQ(*database->QueryInt("PRAGMA synchronous"), 2);  // FULL
  EXPECT_EQ(*database->QueryInt("PRAGMA foreign_keys"), 1);
  EXPECT_EQ(*database->QueryInt("PRAGMA busy_timeout"), 5000);
  EXPECT_EQ(*database->QueryInt("SELECT journal_mode = 'wal' FROM pragma_journal_mode"), 1);
}

}  // namespace
}  // namespace ftd
