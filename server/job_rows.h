// Rows of the database as the daemon's structs.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/job.h"
#include "server/sqlite.h"

namespace ftd {

// Each reads the current row of a statement of job_sql.h.
Job JobFromRow(const Statement& row);
Attempt AttemptFromRow(const Statement& row);
StateEvent EventFromRow(const Statement& row);

// The rest of a statement's rows.
absl::StatusOr<std::vector<Job>> AllJobs(Statement& statement);

std::string LabelsToJson(const std::map<std::string, std::string>& labels);

}  // namespace ftd
