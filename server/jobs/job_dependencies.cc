// JobStore's part for jobs that come after others.
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "server/jobs/job_rows.h"
#include "server/jobs/job_sql.h"
#include "server/jobs/job_store.h"

namespace ftd {

// Within the change that inserts it: a job that fails later finds it.
absl::Status JobStore::CheckNeeded(Database& database, Job& job) {
  for (const std::string& id : job.after) {
    FTD_ASSIGN_OR_RETURN(const Job needed, ReadJob(database, id));
    if (needed.state == JobState::kFailed || needed.state == JobState::kCancelled) {
      return Error(Reason::kStateConflict,
                   absl::StrCat("job ", needed.DisplayName(), " is ", JobStateName(needed.state),
                                ": a job that comes after it would never start"));
    }
    job.blocked |= needed.state != JobState::kSucceeded;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<std::string>> JobQueries::WhoNeeds(const Job& job) {
  absl::MutexLock lock(&read_mutex_);
  FTD_ASSIGN_OR_RETURN(Statement statement, reader_.Prepare(sql::kWhoNeeds));
  FTD_ASSIGN_OR_RETURN(const bool needed, statement.Bind(job.id).Bind(job.owner).Step());
  if (!needed) return std::nullopt;
  return statement.Text(0);
}

absl::StatusOr<std::vector<JobQueries::Hopeless>> JobQueries::FindHopeless() {
  absl::MutexLock lock(&read_mutex_);
  FTD_ASSIGN_OR_RETURN(Statement statement, reader_.Prepare(sql::kHopeless));
  std::vector<Hopeless> hopeless;
  while (true) {
    FTD_ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (!row) return hopeless;
    hopeless.push_back({statement.Text(0), statement.Text(1), statement.Text(2)});
  }
}

absl::Status JobStore::FailHopeless() {
  FTD_ASSIGN_OR_RETURN(const std::vector<Hopeless> hopeless, FindHopeless());
  for (const auto& [id, needed, state] : hopeless) {
    const auto failed =
        MoveJob(id, {JobState::kQueued},
                {.to = JobState::kFailed,
                 .message = absl::StrCat("job ", needed, ", which it was to come after, ",
                                         state.empty() ? "was removed" : "is ", state),
                 .failure_reason = "DEPENDENCY_FAILED",
                 .hint = "submit it again, after a job that succeeds"});
    // Held or cancelled in this very moment: it does not start in any case.
    if (!failed.ok() && ReasonOf(failed.status()) != Reason::kStateConflict) return failed.status();
  }
  return absl::OkStatus();
}

}  // namespace ftd
