#include "server/jobs/job_store.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/notification.h"
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

// The decision was based on `judged`; a user may have paused, cancelled or kept the job since.
absl::Status CheckUnchanged(const Job& job, const Job& judged) {
  if (job.state == judged.state && job.keep == judged.keep) return absl::OkStatus();
  return Conflict(job, "has changed meanwhile");
}

absl::Status ResultClosed(const Job& job) {
  return Conflict(job, "has been trained: its result is being published");
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
  std::unique_ptr<JobStore> store(new JobStore(std::move(writer), std::move(reader)));
  FTD_RETURN_IF_ERROR(store->LoadIndex());
  FTD_ASSIGN_OR_RETURN(const auto drain, store->GetDrain());
  store->drained_ = drain.has_value();
  return store;
}

absl::Status JobStore::Write(absl::FunctionRef<absl::Status(Database&)> change) {
  return writer_.Run(change, [] {});
}

// The index changes with the change, so that the next one in the same transaction counts with it.
void JobStore::Change(std::function<absl::StatusOr<Changed>(Database&)> change, Done done) {
  const auto changed = std::make_shared<Changed>();
  const auto entry = [changed] { return JobIndex::Entry::Of(changed->job); };
  writer_.Post(
      [=, this, change = std::move(change)](Database& database) -> absl::Status {
        FTD_ASSIGN_OR_RETURN(*changed, change(database));
        index_.Replace(changed->before, entry());
        return absl::OkStatus();
      },
      [=, this] { index_.Replace(entry(), changed->before); },
      [=, this, done = std::move(done)](const absl::Status& status) {
        if (!status.ok()) return done(status);
        // Without a lock, since a listener may ask the store.
        ++changes_;
        if (listener_) listener_(changed->job, changed->event);
        done(std::move(changed->job));
      });
}

absl::StatusOr<Job> JobStore::Wait(absl::FunctionRef<void(Done)> start) {
  absl::StatusOr<Job> result;
  absl::Notification over;
  start([&](absl::StatusOr<Job> done) {
    result = std::move(done);
    over.Notify();
  });
  over.WaitForNotification();
  return result;
}

absl::StatusOr<Job> JobStore::Change(absl::FunctionRef<absl::StatusOr<Changed>(Database&)> change) {
  return Wait([&](Done done) {
    Change([&](Database& database) { return change(database); }, std::move(done));
  });
}

// Whether the job has ended is checked in the same transaction that removes it.
absl::Status JobStore::Delete(const std::string& job_id) {
  std::optional<JobIndex::Entry> deleted;
  FTD_RETURN_IF_ERROR(writer_.Run(
      [&](Database& database) -> absl::Status {
        FTD_ASSIGN_OR_RETURN(const Job job, ReadJob(database, job_id));
        if (!IsFinal(job.state)) return Conflict(job, "has not ended");
        if (job.state == JobState::kSucceeded) {
          FTD_ASSIGN_OR_RETURN(Statement statement, database.Prepare(sql::kForgetNeeded));
          FTD_RETURN_IF_ERROR(statement.Bind(job.id).Run());
        }
        // In this order because of the foreign keys.
        for (const char* sql : sql::kDeleteJob) {
          FTD_ASSIGN_OR_RETURN(Statement statement, database.Prepare(sql));
          FTD_RETURN_IF_ERROR(statement.Bind(job.id).Run());
        }
        deleted = JobIndex::Entry::Of(job);
        index_.Replace(deleted, std::nullopt);
        return absl::OkStatus();
      },
      [&] { index_.Replace(std::nullopt, deleted); }));
  ++changes_;
  return absl::OkStatus();
}

absl::Status JobStore::Probe() {
  return Write([](Database&) { return absl::OkStatus(); });
}

absl::Status JobStore::SetChannels(std::vector<std::string> channels) {
  FTD_RETURN_IF_ERROR(Write([&](Database& database) -> absl::Status {
    FTD_ASSIGN_OR_RETURN(Statement statement, database.Prepare(sql::kDeleteOtherNotifications));
    return statement.Bind(JsonArray(channels)).Run();
  }));
  channels_ = std::move(channels);
  return absl::OkStatus();
}

absl::Status JobStore::Postpone(const Notification& notification, absl::Time not_before) {
  return Write([&](Database& database) -> absl::Status {
    FTD_ASSIGN_OR_RETURN(Statement statement, database.Prepare(sql::kPostponeNotification));
    statement.Bind(notification.job_id).Bind(notification.channel);
    return statement.BindTime(not_before).Run();
  });
}

absl::Status JobStore::Forget(const Notification& notification) {
  return Write([&](Database& database) -> absl::Status {
    FTD_ASSIGN_OR_RETURN(Statement statement, database.Prepare(sql::kDeleteNotification));
    return statement.Bind(notification.job_id).Bind(notification.channel).Run();
  });
}

// The only function that changes a state: checks the move, updates the row and inserts the event,
// all in the caller's transaction.
absl::StatusOr<JobStore::Changed> JobStore::ApplyMove(Database& database, const std::string& job_id,
                                                      std::initializer_list<JobState> from,
                                                      const Move& move) {
  FTD_ASSIGN_OR_RETURN(const Job job, ReadJob(database, job_id));
  if (!IsIn(job, from) || !IsLegalMove(job.state, move.to)) {
    return Conflict(job, absl::StrCat("cannot become ", JobStateName(move.to)));
  }
  if (IsResultClosed(job.id) && move.to != JobState::kSucceeded) return ResultClosed(job);
  StateEvent event{.from = job.state,
                   .to = move.to,
                   .time = absl::Now(),
                   .message = move.message,
                   .failure_reason = move.failure_reason,
                   .hint = move.hint,
                   .attempt = move.attempt,
                   .result_dir = move.result_dir};
  FTD_RETURN_IF_ERROR(UpdateJob(database, job, move, event.time));
  if (IsFinal(move.to)) {
    for (const std::string& channel : channels_)
      FTD_RETURN_IF_ERROR(InsertNotification(database, job.id, channel));
  }
  Changed changed{.before = JobIndex::Entry::Of(job)};
  FTD_ASSIGN_OR_RETURN(changed.event, InsertEvent(database, job.id, std::move(event)));
  FTD_ASSIGN_OR_RETURN(changed.job, ReadJob(database, job.id));
  return changed;
}

absl::StatusOr<Job> JobStore::MoveJob(const std::string& job_id,
                                      std::initializer_list<JobState> from, const Move& move) {
  return Change([&](Database& database) { return ApplyMove(database, job_id, from, move); });
}

// Labels, priority and the like: no event is stored, but watchers are woken.
absl::StatusOr<Job> JobStore::Amend(const std::string& job_id, std::initializer_list<JobState> from,
                                    const std::function<absl::Status(Job&)>& change) {
  return Change([&](Database& database) -> absl::StatusOr<Changed> {
    FTD_ASSIGN_OR_RETURN(Job job, ReadJob(database, job_id));
    if (!IsIn(job, from)) return Conflict(job, "cannot be changed so");
    const auto before = JobIndex::Entry::Of(job);
    const bool keep = job.keep;
    FTD_RETURN_IF_ERROR(change(job));
    if (job.keep != keep && IsResultClosed(job.id)) return ResultClosed(job);
    FTD_RETURN_IF_ERROR(AmendJob(database, job));
    const StateEvent event{.from = job.state, .to = job.state, .time = absl::Now()};
    return Changed{.before = before, .job = std::move(job), .event = event};
  });
}

absl::StatusOr<Job> JobStore::StartAttempt(const Job& queued, const Attempt& attempt) {
  return Change([&](Database& database) -> absl::StatusOr<Changed> {
    FTD_ASSIGN_OR_RETURN(const Job now, ReadJob(database, queued.id));
    FTD_RETURN_IF_ERROR(CheckUnchanged(now, queued));
    // Drained meanwhile. In turn with the drain: once that is answered, nothing starts.
    if (drained_) return Conflict(now, "the queue is drained");
    // The job and the attempt's row change together, so an active job always has an attempt.
    const Move move{.to = JobState::kPreparing,
                    .message = absl::StrCat("attempt ", attempt.number),
                    .attempt = attempt.number};
    FTD_ASSIGN_OR_RETURN(Changed changed,
                         ApplyMove(database, queued.id, {JobState::kQueued}, move));
    FTD_ASSIGN_OR_RETURN(Statement insert, database.Prepare(sql::kInsertAttempt));
    insert.Bind(queued.id).Bind(attempt.number).BindTime(changed.event.time);
    FTD_RETURN_IF_ERROR(insert.Bind(attempt.resumed_from).Run());
    return changed;
  });
}

absl::Status JobStore::RecordWorker(const std::string& job_id, const Attempt& attempt) {
  return Write([&](Database& database) -> absl::Status {
    FTD_ASSIGN_OR_RETURN(Statement update, database.Prepare(sql::kRecordWorker));
    update.Bind(job_id).Bind(attempt.number).Bind(attempt.pid).Bind(attempt.pid_start);
    return update.Bind(attempt.boot_id).Run();
  });
}

absl::StatusOr<Job> JobStore::EndAttempt(const Job& judged, const Attempt& attempt,
                                         const Move& move) {
  auto ended = Change([&](Database& database) -> absl::StatusOr<Changed> {
    FTD_ASSIGN_OR_RETURN(const Job now, ReadJob(database, judged.id));
    FTD_RETURN_IF_ERROR(CheckUnchanged(now, judged));
    // Only the attempt that is still active is changed: an ended one never is.
    FTD_ASSIGN_OR_RETURN(Statement update, database.Prepare(sql::kEndAttempt));
    update.Bind(judged.id).Bind(attempt.number).Bind(AttemptStateName(attempt.state));
    update.Bind(attempt.reason).BindTime(absl::Now());
    update.Bind(attempt.exit_code).Bind(attempt.signal);
    update.Bind(attempt.first_step).Bind(attempt.last_step);
    FTD_RETURN_IF_ERROR(update.Bind(absl::ToInt64Microseconds(attempt.ran)).Run());
    return ApplyMove(
        database, judged.id,
        {JobState::kPreparing, JobState::kRunning, JobState::kPausing, JobState::kCancelling},
        move);
  });
  if (ended.ok()) ReopenResult(judged.id);
  return ended;
}

// In turn with the changes: a request that was stored before this is seen here, and one that comes
// after it sees this.
absl::Status JobStore::CloseResult(const Job& judged) {
  const absl::Status closed = Write([&](Database& database) -> absl::Status {
    FTD_ASSIGN_OR_RETURN(const Job now, ReadJob(database, judged.id));
    FTD_RETURN_IF_ERROR(CheckUnchanged(now, judged));
    absl::MutexLock lock(&closed_mutex_);
    closed_.insert(judged.id);
    return absl::OkStatus();
  });
  if (!closed.ok()) ReopenResult(judged.id);
  return closed;
}

void JobStore::ReopenResult(const std::string& job_id) {
  absl::MutexLock lock(&closed_mutex_);
  closed_.erase(job_id);
}

bool JobStore::IsResultClosed(const std::string& job_id) {
  absl::MutexLock lock(&closed_mutex_);
  return closed_.contains(job_id);
}

}  // namespace ftd
