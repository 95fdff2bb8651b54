#include "server/jobs/migrations.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "lib/base/error.h"
#include "server/jobs/schema_sql.h"

namespace ftd {
namespace {

// Backs up the database with VACUUM INTO, which writes a whole, consistent copy, including what is
// still in the write-ahead log.
absl::Status BackUp(Database& database, const std::string& path, int64_t version) {
  const std::string backup = absl::StrCat(path, ".backup-v", version);
  std::error_code ignored;
  std::filesystem::remove(backup, ignored);
  const std::string quoted = absl::StrReplaceAll(backup, {{"'", "''"}});
  return Prefixed(
      database.Execute(absl::StrCat("VACUUM INTO '", quoted, "'")),
      absl::StrCat("cannot back up the database to ", backup, " before migrating it: "));
}

}  // namespace

absl::Span<const char* const> Migrations() {
  // Entry i takes a database from version i to i + 1. Only append: released entries never change.
  static constexpr const char* kMigrations[] = {kSchemaSql,   kSchemaV2Sql, kSchemaV3Sql,
                                                kSchemaV4Sql, kSchemaV5Sql, kSchemaV6Sql,
                                                kSchemaV7Sql, kSchemaV8Sql};
  return kMigrations;
}

absl::Status Migrate(Database& database, const std::string& path,
                     absl::Span<const char* const> migrations) {
  FTD_ASSIGN_OR_RETURN(int64_t version, database.QueryInt("PRAGMA user_version"));
  const int64_t newest = static_cast<int64_t>(migrations.size());
  // An older ftd must not write a database whose rules it does not know.
  if (version > newest) {
    return Error(
        Reason::kSchemaNewer,
        absl::StrCat(path, " has schema version ", version, ", this ftd knows up to ", newest,
                     "; run the ftd that made it, or restore ", path, ".backup-v", newest));
  }
  if (version == newest) return absl::OkStatus();
  if (version > 0) FTD_RETURN_IF_ERROR(BackUp(database, path, version));
  // Each version in a transaction of its own, with its number: after a crash the next start
  // continues with the version that is missing. user_version is part of the database's header and
  // rolls back with it.
  for (; version < newest; ++version) {
    FTD_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database));
    FTD_RETURN_IF_ERROR(database.Execute(migrations[version]));
    FTD_RETURN_IF_ERROR(database.Execute(absl::StrCat("PRAGMA user_version = ", version + 1)));
    FTD_RETURN_IF_ERROR(transaction.Commit());
  }
  return absl::OkStatus();
}

}  // namespace ftd
