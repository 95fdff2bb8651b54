// Rows of the database as the daemon's structs, and back. Each function runs one statement of
// job_sql.h; locks and transactions are the job store's.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/jobs/job.h"
#include "server/jobs/job_changes.h"
#include "server/jobs/job_index.h"
#include "server/jobs/sqlite.h"

namespace ftd {

// Each reads the current row of a statement.
Job JobFromRow(const Statement& row);
Attempt AttemptFromRow(const Statement& row);
StateEvent EventFromRow(const Statement& row);
Notification NotificationFromRow(const Statement& row);
// Of kIndexOfJobs.
JobIndex::Entry IndexEntryFromRow(const Statement& row);

// The rest of a statement's rows.
absl::StatusOr<std::vector<Job>> AllJobs(Statement& statement);

// NOT_FOUND JOB_NOT_FOUND, with the name as the user gave it.
absl::Status JobNotFound(const std::string& job);
absl::StatusOr<Job> ReadJob(Database& database, const std::string& id_or_name);
// The job that the request made; none for a new id. ALREADY_EXISTS REQUEST_ID_REUSED when its body
// was another.
absl::StatusOr<std::optional<std::string>> ReadRequest(Database& database,
                                                       const RequestKey& request);

// Returns its ordinal.
absl::StatusOr<int64_t> InsertJob(Database& database, const Job& job);
absl::Status InsertDependencies(Database& database, const Job& job);
absl::Status InsertRequest(Database& database, const Job& job, const RequestKey& request);
absl::Status InsertNotification(Database& database, const std::string& job_id,
                                const std::string& channel);
// Gives the event its sequence.
absl::StatusOr<StateEvent> InsertEvent(Database& database, const std::string& job_id,
                                       StateEvent event);
// The job's row after `move` at time `now`. `job` is as it was before.
absl::Status UpdateJob(Database& database, const Job& job, const Move& move, absl::Time now);
// The job's row as `job` has it in what JobStore::Amend may change.
absl::Status AmendJob(Database& database, const Job& job);

}  // namespace ftd
