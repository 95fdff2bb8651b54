#include "server/jobs/job_rows.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "lib/base/error.h"
#include "lib/base/utf8.h"
#include "server/jobs/job_sql.h"
#include "server/jobs/job_states.h"
#include "server/jobs/json.h"

namespace ftd {
namespace {

// Returns the state of a name in the database. This program wrote all of them, or a later release
// did before a downgrade. A job in a state that is not known here must not run.
JobState StateOrFailed(const std::string& name) {
  return ParseJobState(name).value_or(JobState::kFailed);
}

// Returns a text for people. What is stored is bounded where it enters, but earlier releases took
// it at any length, and a page of a list has many.
std::string Words(const Statement& row, int column) {
  constexpr size_t kMaxBytes = 8192;
  return Shortened(row.Text(column), kMaxBytes);
}

}  // namespace

absl::Status JobNotFound(const std::string& job) {
  return Error(Reason::kJobNotFound,
               absl::StrCat("no job \"", job, "\"; `ftctl ls` lists the jobs"));
}

// Columns are read in the order of FTD_JOB_COLUMNS in job_sql.h, in the other two functions in the
// order of their SELECT.
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
  job.labels = StringsFromJson(row.Text(column++));
  job.priority = static_cast<int32_t>(row.Int(column++));
  job.owner = row.Text(column++);
  job.at_head = row.Int(column++) != 0;
  job.not_before = row.Time(column++);
  job.crashes = static_cast<int32_t>(row.Int(column++));
  job.create_time = row.Time(column++).value_or(absl::Time());
  job.start_time = row.Time(column++);
  job.end_time = row.Time(column++);
  job.failure_reason = row.Text(column++);
  job.message = Words(row, column++);
  job.hint = Words(row, column++);
  job.result_dir = row.Text(column++);
  job.sources_json = row.Text(column++);
  job.keep = row.Int(column++) != 0;
  job.retry_of = row.Text(column++);
  job.space_wanted = row.Int(column++);
  job.start_from = row.Text(column++);
  job.time_limit_seconds = row.Int(column++);
  job.after = absl::StrSplit(row.Text(column++), ' ', absl::SkipEmpty());
  job.blocked = row.Int(column++) != 0;
  return job;
}

// An attempt whose state is not known here has ended in some way; it must not look active.
Attempt AttemptFromRow(const Statement& row) {
  Attempt attempt;
  int column = 0;
  attempt.number = static_cast<int32_t>(row.Int(column++));
  attempt.state = ParseAttemptState(row.Text(column++)).value_or(AttemptState::kCrashed);
  attempt.reason = Words(row, column++);
  attempt.start_time = row.Time(column++).value_or(absl::Time());
  attempt.end_time = row.Time(column++);
  attempt.exit_code = row.OptionalInt(column++);
  attempt.signal = row.OptionalInt(column++);
  attempt.first_step = row.Int(column++);
  attempt.last_step = row.Int(column++);
  attempt.resumed_from = row.Text(column++);
  attempt.pid = row.Int(column++);
  attempt.pid_start = row.Int(column++);
  attempt.boot_id = row.Text(column++);
  attempt.ran = absl::Microseconds(row.Int(column++));
  return attempt;
}

StateEvent EventFromRow(const Statement& row) {
  StateEvent event;
  int column = 0;
  event.sequence = row.Int(column++);
  event.from = ParseJobState(row.Text(column++));
  event.to = StateOrFailed(row.Text(column++));
  event.time = row.Time(column++).value_or(absl::Time());
  event.message = Words(row, column++);
  event.failure_reason = row.Text(column++);
  event.hint = Words(row, column++);
  event.attempt = static_cast<int32_t>(row.Int(column++));
  event.result_dir = row.Text(column++);
  return event;
}

Notification NotificationFromRow(const Statement& row) {
  return {.job_id = row.Text(0),
          .channel = row.Text(1),
          .tries = static_cast<int32_t>(row.Int(2)),
          .not_before = row.Time(3).value_or(absl::InfinitePast())};
}

JobIndex::Entry IndexEntryFromRow(const Statement& row) {
  return {.state = StateOrFailed(row.Text(0)),
          .owner = row.Text(1),
          .at_head = row.Int(2) != 0,
          .priority = static_cast<int32_t>(row.Int(3)),
          .ordinal = row.Int(4)};
}

absl::StatusOr<std::vector<Job>> AllJobs(Statement& statement) {
  std::vector<Job> jobs;
  while (true) {
    FTD_ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (!row) return jobs;
    jobs.push_back(JobFromRow(statement));
  }
}

// By id or name in one statement: a name never looks like an id.
absl::StatusOr<Job> ReadJob(Database& database, const std::string& id_or_name) {
  FTD_ASSIGN_OR_RETURN(Statement statement, database.Prepare(sql::kGetJob));
  FTD_ASSIGN_OR_RETURN(const bool row, statement.Bind(id_or_name).Step());
  if (!row) return JobNotFound(id_or_name);
  return JobFromRow(statement);
}

// The sequence is computed by the INSERT itself, so it has no gap and cannot be taken twice.
absl::StatusOr<StateEvent> InsertEvent(Database& database, const std::string& job_id,
                                       StateEvent event) {
  FTD_ASSIGN_OR_RETURN(Statement statement, database.Prepare(sql::kInsertEvent));
  statement.Bind(job_id)
      .Bind(event.from.has_value() ? JobStateName(*event.from) : "")
      .Bind(JobStateName(event.to))
      .BindTime(event.time)
      .Bind(event.message)
      .Bind(event.failure_reason)
      .Bind(event.hint)
      .Bind(event.attempt)
      .Bind(event.result_dir);
  FTD_ASSIGN_OR_RETURN(const bool row, statement.Step());
  if (!row) return absl::InternalError("the database returned no sequence for an event");
  event.sequence = statement.Int(0);
  return event;
}

// The key is the client's id; the hash of the body detects an id that is used again by mistake.
absl::StatusOr<std::optional<std::string>> ReadRequest(Database& database,
                                                       const RequestKey& request) {
  FTD_ASSIGN_OR_RETURN(Statement statement, database.Prepare(sql::kFindRequest));
  FTD_ASSIGN_OR_RETURN(const bool row, statement.Bind(request.request_id).Step());
  if (!row) return std::nullopt;
  if (statement.Text(1) != request.body_sha256) {
    return Error(Reason::kRequestIdReused,
                 absl::StrCat("request_id ", request.request_id,
                              " was used for a different request; send a fresh one"));
  }
  return statement.Text(0);
}

absl::StatusOr<int64_t> InsertJob(Database& database, const Job& job) {
  FTD_ASSIGN_OR_RETURN(Statement statement, database.Prepare(sql::kInsertJob));
  statement.Bind(job.id);
  // NULL, not "": names are unique, and many jobs have none.
  job.name.empty() ? statement.BindNull() : statement.Bind(job.name);
  statement.Bind(job.spec_json)
      .Bind(job.model_dir)
      .Bind(job.dataset_path)
      .Bind(StringsToJson(job.labels))
      .Bind(job.priority)
      .Bind(job.owner)
      .BindTime(job.create_time)
      .Bind(job.sources_json)
      .Bind(job.retry_of)
      .Bind(job.start_from)
      .Bind(job.time_limit_seconds);
  FTD_ASSIGN_OR_RETURN(const bool row, statement.Step());
  if (!row) return absl::InternalError("the database returned no ordinal for a job");
  return statement.Int(0);
}

absl::Status InsertDependencies(Database& database, const Job& job) {
  for (const std::string& needs : job.after) {
    FTD_ASSIGN_OR_RETURN(Statement statement, database.Prepare(sql::kInsertDependency));
    FTD_RETURN_IF_ERROR(statement.Bind(job.id).Bind(needs).Run());
  }
  return absl::OkStatus();
}

absl::Status InsertRequest(Database& database, const Job& job, const RequestKey& request) {
  FTD_ASSIGN_OR_RETURN(Statement statement, database.Prepare(sql::kInsertRequest));
  return statement.Bind(request.request_id)
      .Bind(job.id)
      .Bind(request.body_sha256)
      .BindTime(job.create_time)
      .Run();
}

absl::Status InsertNotification(Database& database, const std::string& job_id,
                                const std::string& channel) {
  FTD_ASSIGN_OR_RETURN(Statement statement, database.Prepare(sql::kInsertNotification));
  return statement.Bind(job_id).Bind(channel).Run();
}

absl::Status UpdateJob(Database& database, const Job& job, const Move& move, absl::Time now) {
  FTD_ASSIGN_OR_RETURN(Statement statement, database.Prepare(sql::kMoveJob));
  return statement.Bind(job.id)
      .Bind(JobStateName(move.to))
      .Bind(move.message)
      .Bind(move.failure_reason)
      .Bind(move.hint)
      .Bind(move.result_dir)
      .Bind(static_cast<int64_t>(move.at_head))
      .BindTime(move.not_before)
      // The numbers are those of ?9 to ?13 in kMoveJob. Only the first PREPARING sets start_time; 0
      // leaves it.
      .Bind(static_cast<int64_t>(move.crashes.value_or(job.crashes)))
      .BindTime(move.to == JobState::kPreparing ? std::optional(now) : std::nullopt)
      .BindTime(IsFinal(move.to) ? std::optional(now) : std::nullopt)
      .Bind(static_cast<int64_t>(move.keep.value_or(job.keep)))
      .Bind(move.space_wanted)
      .Run();
}

// Only the columns that may change without a change of state.
absl::Status AmendJob(Database& database, const Job& job) {
  FTD_ASSIGN_OR_RETURN(Statement statement, database.Prepare(sql::kAmendJob));
  return statement.Bind(job.id)
      .Bind(job.message)
      .Bind(job.priority)
      .Bind(StringsToJson(job.labels))
      .Bind(static_cast<int64_t>(job.at_head))
      .Bind(static_cast<int64_t>(job.keep))
      .Bind(job.space_wanted)
      .Bind(job.time_limit_seconds)
      .Run();
}

}  // namespace ftd
