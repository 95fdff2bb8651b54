#include "server/job_rows.h"

#include <nlohmann/json.hpp>

#include "artifacts/error.h"

namespace ftd {
namespace {

// The database holds only names that this program wrote; one that it does not know can come from a later release's
// row after a downgrade, and such a job must not run.
JobState StateOrFailed(const std::string& name) { return ParseJobState(name).value_or(JobState::kFailed); }

}  // namespace

Job JobFromRow(const Statement& row) {
  Job job;
  int column = 0;
  job.ordinal = row.Int(column++);
  job.id = row.Text(column++);
  job.name = row.Text(column++);
  job.state = StateOrFailed(row.Text(column++));
  job.spec_json = row.Text(column++);
  job.model_dir = row.Text(column++);
  job.dataset_path = row.Text(column++);
  const auto labels = nlohmann::json::parse(row.Text(column++), nullptr, false);
  if (labels.is_object()) job.labels = labels.get<std::map<std::string, std::string>>();
  job.priority = static_cast<int32_t>(row.Int(column++));
  job.owner = row.Text(column++);
  job.at_head = row.Int(column++) != 0;
  job.not_before = row.Int(column++);
  job.crashes = static_cast<int32_t>(row.Int(column++));
  job.create_time = row.Int(column++);
  job.start_time = row.Int(column++);
  job.end_time = row.Int(column++);
  job.failure_reason = row.Text(column++);
  job.message = row.Text(column++);
  job.hint = row.Text(column++);
  job.result_dir = row.Text(column++);
  return job;
}

Attempt AttemptFromRow(const Statement& row) {
  Attempt attempt;
  int column = 0;
  attempt.number = static_cast<int32_t>(row.Int(column++));
  attempt.state = ParseAttemptState(row.Text(column++)).value_or(AttemptState::kCrashed);
  attempt.reason = row.Text(column++);
  attempt.start_time = row.Int(column++);
  attempt.end_time = row.Int(column++);
  attempt.exit_code = row.OptionalInt(column++);
  attempt.signal = row.OptionalInt(column++);
  attempt.first_step = row.Int(column++);
  attempt.last_step = row.Int(column++);
  attempt.resumed_from = row.Text(column++);
  attempt.pid = row.Int(column++);
  attempt.pid_start = row.Int(column++);
  attempt.boot_id = row.Text(column++);
  return attempt;
}

StateEvent EventFromRow(const Statement& row) {
  StateEvent event;
  int column = 0;
  event.sequence = row.Int(column++);
  event.from = ParseJobState(row.Text(column++));
  event.to = StateOrFailed(row.Text(column++));
  event.time = row.Int(column++);
  event.message = row.Text(column++);
  event.failure_reason = row.Text(column++);
  event.hint = row.Text(column++);
  event.attempt = static_cast<int32_t>(row.Int(column++));
  event.result_dir = row.Text(column++);
  return event;
}

absl::StatusOr<std::vector<Job>> AllJobs(Statement& statement) {
  std::vector<Job> jobs;
  while (true) {
    FTD_ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (!row) return jobs;
    jobs.push_back(JobFromRow(statement));
  }
}

std::string LabelsToJson(const std::map<std::string, std::string>& labels) {
  return nlohmann::json(labels).dump();
}

}  // namespace ftd
