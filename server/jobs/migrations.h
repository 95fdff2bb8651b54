// The database's versions. PRAGMA user_version names the one on disk.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "server/jobs/sqlite.h"

namespace ftd {

// The statements that lead from version i to version i + 1, i being the place in the list; the
// first makes version 1 out of nothing. Only ever appended to.
absl::Span<const char* const> Migrations();

// Brings the database at `path`, which `database` has open, to the newest version, each step in a
// transaction of its own. Before the first step a database that is not empty is copied to
// `path`.backup-vN, N being its old version. FAILED_PRECONDITION SCHEMA_NEWER when the database was
// made by a later ftd.
absl::Status Migrate(Database& database, const std::string& path,
                     absl::Span<const char* const> migrations);

}  // namespace ftd
