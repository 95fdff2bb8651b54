#include "server/jobs/job_store.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "lib/base/error.h"
#include "server/jobs/job_rows.h"
#include "server/jobs/job_sql.h"
#include "server/jobs/job_states.h"
#include "server/jobs/migrations.h"

namespace ftd {
namespace {

absl::Status Conflict(const Job& job, const std::string& what) {
  return Error(Reason::kStateConflict, absl::StrCat("job ", job.DisplayName(), " is ",
                                                    JobStateName(job.state), " and ", what));
}

bool IsIn(const Job& job, std::initializer_list<JobState> states) {
  return std::find(states.begin(), states.end(), job.state) != states.end();
}

// The decision was based on `judged`; a user may have paused, cancelled or kept the job since.
absl::Status CheckUnchanged(const Job& job, const Job& judged) {
  if (job.state == judged.state && job.keep == judged.keep) return absl::OkStatus();
  return Conflict(job, "has changed meanwhile");
}

absl::Status ResultClosed(const Job& job) {
  return Conflict(job, "has been trained: its result is being published");
}

// NAME_IN_USE, QUOTA_EXCEEDED or QUEUE_FULL. Within the transaction that inserts, so that two
// submits cannot both pass.
absl::Status CheckRoom(Database& database, const Job& job, int64_t max_queued,
                       int64_t max_of_owner) {
  if (!job.name.empty()) {
    FTD_ASSIGN_OR_RETURN(Statement statement, database.Prepare(sql::kNameTaken));
    FTD_ASSIGN_OR_RETURN(const bool taken, statement.Bind(job.name).Step());
    if (taken) {
      return Error(Reason::kNameInUse, absl::StrCat("a job named \"", job.name,
                                                    "\" exists already; choose another name"));
    }
  }
  if (max_of_owner < std::numeric_limits<int64_t>::max()) {
    FTD_ASSIGN_OR_RETURN(Statement waiting, database.Prepare(sql::kCountWaitingOf));
    FTD_RETURN_IF_ERROR(waiting.Bind(job.owner).Step().status());
    const int64_t own = waiting.Int(0);
    if (own >= max_of_owner)
      return Error(Reason::kQuotaExceeded,
                   absl::StrCat(job.owner, " has ", own,
                                " jobs that wait, as many as one owner may; "
                                "wait, or cancel some"));
  }
  FTD_ASSIGN_OR_RETURN(const int64_t queued, database.QueryInt(sql::kCountQueued));
  if (queued < max_queued) return absl::OkStatus();
  return Error(Reason::kQueueFull,
               absl::StrCat("the queue is full (", queued, " jobs); wait, or cancel some"));
}

// Of words that need no escapes.
std::string JsonArray(const std::vector<std::string>& words) {
  return words.empty() ? "[]" : absl::StrCat("[\"", absl::StrJoin(words, "\",\""), "\"]");
}

}  // namespace

absl::StatusOr<std::unique_ptr<JobStore>> JobStore::Open(const std::string& path) {
  // Two connections to one file: in WAL mode a reader never waits for the writer, nor the writer
  // for it.
  FTD_ASSIGN_OR_RETURN(Database writer, Database::Open(path));
  FTD_RETURN_IF_ERROR(Migrate(writer, path, Migrations()));
  FTD_ASSIGN_OR_RETURN(Database reader, Database::Open(path));
  FTD_RETURN_IF_ERROR(reader.Execute("PRAGMA query_only = ON"));
  return std::unique_ptr<JobStore>(new JobStore(std::move(writer), std::move(reader)));
}

// Called without a lock, after the commit, since a listener may call the store again.
absl::StatusOr<Job> JobStore::Announce(std::pair<Job, StateEvent> change) {
  ++changes_;
  if (listener_) listener_(change.first, change.second);
  return std::move(change.first);
}

absl::StatusOr<Job> JobStore::Insert(Job job, const std::optional<RequestKey>& request,
                                     int64_t max_queued, int64_t max_of_owner) {
  StateEvent event{.to = JobState::kQueued, .message = "submitted"};
  {
    // One transaction for the key, the job and its first event. A client that lost the answer asks
    // with the same key and gets the same job; after a crash there is either all or nothing.
    absl::MutexLock lock(&write_mutex_);
    FTD_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(writer_));
    if (request.has_value()) {
      FTD_ASSIGN_OR_RETURN(const auto known, ReadRequest(writer_, *request));
      if (known.has_value()) return ReadJob(writer_, *known);
    }
    FTD_RETURN_IF_ERROR(CheckRoom(writer_, job, max_queued, max_of_owner));
    job.create_time = event.time = absl::Now();
    FTD_RETURN_IF_ERROR(InsertJob(writer_, job));
    if (request.has_value()) FTD_RETURN_IF_ERROR(InsertRequest(writer_, job, *request));
    FTD_ASSIGN_OR_RETURN(event, InsertEvent(writer_, job.id, std::move(event)));
    // Read back for what the database fills in: ordinal and defaults.
    FTD_ASSIGN_OR_RETURN(job, ReadJob(writer_, job.id));
    FTD_RETURN_IF_ERROR(transaction.Commit());
  }
  return Announce({std::move(job), std::move(event)});
}

absl::StatusOr<std::optional<Job>> JobStore::FindRequest(const RequestKey& request) {
  absl::MutexLock lock(&read_mutex_);
  FTD_ASSIGN_OR_RETURN(const auto job_id, ReadRequest(reader_, request));
  if (!job_id.has_value()) return std::nullopt;
  FTD_ASSIGN_OR_RETURN(Job job, ReadJob(reader_, *job_id));
  return job;
}

// Whether the job has ended is checked in the same transaction that removes it.
absl::Status JobStore::Delete(const std::string& job_id) {
  absl::MutexLock lock(&write_mutex_);
  FTD_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(writer_));
  FTD_ASSIGN_OR_RETURN(const Job job, ReadJob(writer_, job_id));
  if (!IsFinal(job.state)) return Conflict(job, "has not ended");
  // In this order because of the foreign keys.
  for (const char* sql : sql::kDeleteJob) {
    FTD_ASSIGN_OR_RETURN(Statement statement, writer_.Prepare(sql));
    FTD_RETURN_IF_ERROR(statement.Bind(job.id).Run());
  }
  FTD_RETURN_IF_ERROR(transaction.Commit());
  ++changes_;
  return absl::OkStatus();
}

absl::StatusOr<Job> JobStore::Get(const std::string& id_or_name) {
  absl::MutexLock lock(&read_mutex_);
  return ReadJob(reader_, id_or_name);
}

absl::StatusOr<std::vector<Job>> JobStore::List(int64_t before, const std::vector<JobState>& states,
                                                int64_t limit,
                                                const std::optional<std::string>& owner) {
  constexpr int64_t kNoBound = std::numeric_limits<int64_t>::max();
  FTD_ASSIGN_OR_RETURN(JobPage page, Page(before, states, limit, kNoBound, owner));
  return std::move(page.jobs);
}

absl::StatusOr<JobPage> JobStore::Page(int64_t before, const std::vector<JobState>& states,
                                       int64_t limit, int64_t most_bytes,
                                       const std::optional<std::string>& owner) {
  // The states go as one JSON array, so that a single prepared statement serves lists of any
  // length.
  std::vector<std::string> names;
  names.reserve(states.size());
  for (const JobState state : states) names.emplace_back(JobStateName(state));
  absl::MutexLock lock(&read_mutex_);
  FTD_ASSIGN_OR_RETURN(Statement statement, reader_.Prepare(sql::kListJobs));
  // One row more tells whether there are others.
  statement.Bind(before).Bind(JsonArray(names)).Bind(limit == INT64_MAX ? limit : limit + 1);
  owner.has_value() ? statement.Bind(*owner) : statement.BindNull();
  JobPage page;
  for (int64_t bytes = 0; true; bytes += static_cast<int64_t>(page.jobs.back().spec_json.size())) {
    FTD_ASSIGN_OR_RETURN(const bool row, statement.Step());
    page.more = row && (static_cast<int64_t>(page.jobs.size()) == limit || bytes > most_bytes);
    if (!row || page.more) return page;
    page.jobs.push_back(JobFromRow(statement));
  }
}

absl::StatusOr<std::vector<Job>> JobStore::Queued(int64_t limit) {
  absl::MutexLock lock(&read_mutex_);
  FTD_ASSIGN_OR_RETURN(Statement statement, reader_.Prepare(sql::kQueued));
  statement.Bind(limit);
  return AllJobs(statement);
}

absl::StatusOr<std::optional<Job>> JobStore::NextQueued() {
  FTD_ASSIGN_OR_RETURN(std::vector<Job> jobs, Queued(1));
  if (jobs.empty()) return std::nullopt;
  return std::move(jobs.front());
}

absl::StatusOr<std::vector<Job>> JobStore::Active() {
  absl::MutexLock lock(&read_mutex_);
  FTD_ASSIGN_OR_RETURN(Statement statement, reader_.Prepare(sql::kActiveJobs));
  return AllJobs(statement);
}

// Counts instead of sorting: the number of queued jobs that NextQueued would return before this
// one.
absl::StatusOr<int64_t> JobStore::Position(const Job& job) {
  absl::MutexLock lock(&read_mutex_);
  FTD_ASSIGN_OR_RETURN(Statement statement, reader_.Prepare(sql::kQueuedBefore));
  statement.Bind(static_cast<int64_t>(job.at_head)).Bind(job.priority).Bind(job.ordinal);
  FTD_RETURN_IF_ERROR(statement.Step().status());
  return statement.Int(0) + 1;
}

absl::Status JobStore::Probe() {
  absl::MutexLock lock(&write_mutex_);
  // The transaction rolls back as it is destroyed.
  return Transaction::Begin(writer_).status();
}

absl::StatusOr<std::map<JobState, int64_t>> JobStore::CountByState(
    const std::optional<std::string>& owner) {
  absl::MutexLock lock(&read_mutex_);
  FTD_ASSIGN_OR_RETURN(
      Statement statement,
      reader_.Prepare(owner.has_value() ? sql::kCountOwnersByState : sql::kCountByState));
  if (owner.has_value()) statement.Bind(*owner);
  std::map<JobState, int64_t> counts;
  // A state without jobs has no row, and a metric for it must be 0 rather than missing.
  for (const JobState state : kAllJobStates) counts[state] = 0;
  while (true) {
    FTD_ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (!row) return counts;
    if (const auto state = ParseJobState(statement.Text(0))) counts[*state] = statement.Int(1);
  }
}

absl::StatusOr<std::optional<absl::Time>> JobStore::OldestQueued() {
  absl::MutexLock lock(&read_mutex_);
  FTD_ASSIGN_OR_RETURN(Statement statement, reader_.Prepare(sql::kOldestQueued));
  FTD_RETURN_IF_ERROR(statement.Step().status());
  return statement.Time(0);
}

absl::StatusOr<std::vector<Attempt>> JobStore::Attempts(const std::string& job_id) {
  absl::MutexLock lock(&read_mutex_);
  FTD_ASSIGN_OR_RETURN(Statement statement, reader_.Prepare(sql::kAttempts));
  statement.Bind(job_id);
  std::vector<Attempt> attempts;
  while (true) {
    FTD_ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (!row) return attempts;
    attempts.push_back(AttemptFromRow(statement));
  }
}

// Limited, so that a watcher of a job with many events reads them in pieces.
absl::StatusOr<std::vector<StateEvent>> JobStore::Events(const std::string& job_id, int64_t after,
                                                         int64_t limit) {
  absl::MutexLock lock(&read_mutex_);
  FTD_ASSIGN_OR_RETURN(Statement statement, reader_.Prepare(sql::kEventsAfter));
  statement.Bind(job_id).Bind(after).Bind(limit);
  std::vector<StateEvent> events;
  while (true) {
    FTD_ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (!row) return events;
    events.push_back(EventFromRow(statement));
  }
}

absl::Status JobStore::SetChannels(std::vector<std::string> channels) {
  absl::MutexLock lock(&write_mutex_);
  FTD_ASSIGN_OR_RETURN(Statement statement, writer_.Prepare(sql::kDeleteOtherNotifications));
  FTD_RETURN_IF_ERROR(statement.Bind(JsonArray(channels)).Run());
  channels_ = std::move(channels);
  return absl::OkStatus();
}

absl::StatusOr<std::optional<Notification>> JobStore::NextNotification() {
  absl::MutexLock lock(&read_mutex_);
  FTD_ASSIGN_OR_RETURN(Statement statement, reader_.Prepare(sql::kNextNotification));
  FTD_ASSIGN_OR_RETURN(const bool row, statement.Step());
  if (!row) return std::nullopt;
  return NotificationFromRow(statement);
}

absl::Status JobStore::Postpone(const Notification& notification, absl::Time not_before) {
  absl::MutexLock lock(&write_mutex_);
  FTD_ASSIGN_OR_RETURN(Statement statement, writer_.Prepare(sql::kPostponeNotification));
  return statement.Bind(notification.job_id).Bind(notification.channel).BindTime(not_before).Run();
}

absl::Status JobStore::Forget(const Notification& notification) {
  absl::MutexLock lock(&write_mutex_);
  FTD_ASSIGN_OR_RETURN(Statement statement, writer_.Prepare(sql::kDeleteNotification));
  return statement.Bind(notification.job_id).Bind(notification.channel).Run();
}

// The only function that changes a state: checks the move, updates the row and inserts the event,
// all in the caller's transaction.
absl::StatusOr<std::pair<Job, StateEvent>> JobStore::ApplyMove(const std::string& job_id,
                                                               std::initializer_list<JobState> from,
                                                               const Move& move) {
  FTD_ASSIGN_OR_RETURN(Job job, ReadJob(writer_, job_id));
  if (!IsIn(job, from) || !IsLegalMove(job.state, move.to)) {
    return Conflict(job, absl::StrCat("cannot become ", JobStateName(move.to)));
  }
  if (closed_.contains(job.id) && move.to != JobState::kSucceeded) return ResultClosed(job);
  StateEvent event{.from = job.state,
                   .to = move.to,
                   .time = absl::Now(),
                   .message = move.message,
                   .failure_reason = move.failure_reason,
                   .hint = move.hint,
                   .attempt = move.attempt,
                   .result_dir = move.result_dir};
  FTD_RETURN_IF_ERROR(UpdateJob(writer_, job, move, event.time));
  if (IsFinal(move.to)) {
    for (const std::string& channel : channels_)
      FTD_RETURN_IF_ERROR(InsertNotification(writer_, job.id, channel));
  }
  FTD_ASSIGN_OR_RETURN(event, InsertEvent(writer_, job.id, std::move(event)));
  FTD_ASSIGN_OR_RETURN(job, ReadJob(writer_, job.id));
  return std::make_pair(std::move(job), std::move(event));
}

// Announced after the lock is released and the transaction is on disk.
absl::StatusOr<Job> JobStore::MoveJob(const std::string& job_id,
                                      std::initializer_list<JobState> from, const Move& move) {
  std::pair<Job, StateEvent> change;
  {
    absl::MutexLock lock(&write_mutex_);
    FTD_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(writer_));
    FTD_ASSIGN_OR_RETURN(change, ApplyMove(job_id, from, move));
    FTD_RETURN_IF_ERROR(transaction.Commit());
  }
  return Announce(std::move(change));
}

// Labels, priority and the like: no event is stored, but watchers are woken.
absl::StatusOr<Job> JobStore::Amend(const std::string& job_id, std::initializer_list<JobState> from,
                                    const std::function<absl::Status(Job&)>& change) {
  Job job;
  {
    absl::MutexLock lock(&write_mutex_);
    FTD_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(writer_));
    FTD_ASSIGN_OR_RETURN(job, ReadJob(writer_, job_id));
    if (!IsIn(job, from)) return Conflict(job, "cannot be changed so");
    const bool keep = job.keep;
    FTD_RETURN_IF_ERROR(change(job));
    if (job.keep != keep && closed_.contains(job.id)) return ResultClosed(job);
    FTD_RETURN_IF_ERROR(AmendJob(writer_, job));
    FTD_RETURN_IF_ERROR(transaction.Commit());
  }
  const StateEvent event{.from = job.state, .to = job.state, .time = absl::Now()};
  return Announce({std::move(job), event});
}

absl::StatusOr<Job> JobStore::StartAttempt(const Job& queued, const Attempt& attempt) {
  const std::string& job_id = queued.id;
  std::pair<Job, StateEvent> change;
  {
    absl::MutexLock lock(&write_mutex_);
    FTD_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(writer_));
    FTD_ASSIGN_OR_RETURN(const Job now, ReadJob(writer_, job_id));
    FTD_RETURN_IF_ERROR(CheckUnchanged(now, queued));
    // The job and the attempt's row change together, so an active job always has an attempt.
    const Move move{.to = JobState::kPreparing,
                    .message = absl::StrCat("attempt ", attempt.number),
                    .attempt = attempt.number};
    FTD_ASSIGN_OR_RETURN(change, ApplyMove(job_id, {JobState::kQueued}, move));
    FTD_ASSIGN_OR_RETURN(Statement insert, writer_.Prepare(sql::kInsertAttempt));
    insert.Bind(job_id)
        .Bind(attempt.number)
        .BindTime(change.second.time)
        .Bind(attempt.resumed_from);
    FTD_RETURN_IF_ERROR(insert.Run());
    FTD_RETURN_IF_ERROR(transaction.Commit());
  }
  return Announce(std::move(change));
}

// A single statement is its own transaction.
absl::Status JobStore::RecordWorker(const std::string& job_id, const Attempt& attempt) {
  absl::MutexLock lock(&write_mutex_);
  FTD_ASSIGN_OR_RETURN(Statement update, writer_.Prepare(sql::kRecordWorker));
  update.Bind(job_id)
      .Bind(attempt.number)
      .Bind(attempt.pid)
      .Bind(attempt.pid_start)
      .Bind(attempt.boot_id);
  return update.Run();
}

absl::StatusOr<Job> JobStore::EndAttempt(const Job& judged, const Attempt& attempt,
                                         const Move& move) {
  const std::string& job_id = judged.id;
  std::pair<Job, StateEvent> change;
  {
    absl::MutexLock lock(&write_mutex_);
    FTD_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(writer_));
    FTD_ASSIGN_OR_RETURN(const Job now, ReadJob(writer_, job_id));
    FTD_RETURN_IF_ERROR(CheckUnchanged(now, judged));
    // Only the attempt that is still active is changed: an ended one never is.
    FTD_ASSIGN_OR_RETURN(Statement update, writer_.Prepare(sql::kEndAttempt));
    update.Bind(job_id)
        .Bind(attempt.number)
        .Bind(AttemptStateName(attempt.state))
        .Bind(attempt.reason);
    update.BindTime(absl::Now()).Bind(attempt.exit_code).Bind(attempt.signal);
    FTD_RETURN_IF_ERROR(update.Bind(attempt.first_step).Bind(attempt.last_step).Run());
    FTD_ASSIGN_OR_RETURN(change, ApplyMove(job_id,
                                           {JobState::kPreparing, JobState::kRunning,
                                            JobState::kPausing, JobState::kCancelling},
                                           move));
    FTD_RETURN_IF_ERROR(transaction.Commit());
    closed_.erase(job_id);
  }
  return Announce(std::move(change));
}

// Under the lock of the writes: a request that was stored before this is seen here, and one that
// comes after it sees this.
absl::Status JobStore::CloseResult(const Job& judged) {
  absl::MutexLock lock(&write_mutex_);
  FTD_ASSIGN_OR_RETURN(const Job now, ReadJob(writer_, judged.id));
  FTD_RETURN_IF_ERROR(CheckUnchanged(now, judged));
  closed_.insert(judged.id);
  return absl::OkStatus();
}

void JobStore::ReopenResult(const std::string& job_id) {
  absl::MutexLock lock(&write_mutex_);
  closed_.erase(job_id);
}

bool JobStore::IsResultClosed(const std::string& job_id) {
  absl::MutexLock lock(&write_mutex_);
  return closed_.contains(job_id);
}

}  // namespace ftd
