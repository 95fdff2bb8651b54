#include "server/jobs/migrations.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "lib/base/error.h"
#include "server/jobs/schema_sql.h"

namespace ftd {
namespace {

// VACUUM INTO writes a whole, consistent copy, also of what is still in the write-ahead log.
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
  static constexpr const char* kMigrations[] = {kSchemaSql, kSchemaV2Sql, kSchemaV3Sql};
  return kMigrations;
}

absl::Status Migrate(Database& database, const std::string& path,
                     absl::Span<const char* const> migrations) {
  FTD_ASSIGN_OR_RETURN(int64_t version, database.QueryInt("PRAGMA user_version"));
  const int64_t newest = static_cast<int64_t>(migrations.size());
  if (version > newest) {
    return Error(
        Reason::kSchemaNewer,
        absl::StrCat(path, " has schema version ", version, ", this ftd knows up to ", newest,
                     "; run the ftd that made it, or restore ", path, ".backup-v", newest));
  }
  if (version == newest) return absl::OkStatus();
  if (version > 0) FTD_RETURN_IF_ERROR(BackUp(database, path, version));
  for (; version < newest; ++version) {
    FTD_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database));
    FTD_RETURN_IF_ERROR(database.Execute(migrations[version]));
    FTD_RETURN_IF_ERROR(database.Execute(absl::StrCat("PRAGMA user_version = ", version + 1)));
    FTD_RETURN_IF_ERROR(transaction.Commit());
  }
  return absl::OkStatus();
}

}  // namespace ftd
