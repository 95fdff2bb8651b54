// JobStore::Insert.
#include <limits>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "lib/base/error.h"
#include "server/jobs/job_rows.h"
#include "server/jobs/job_sql.h"
#include "server/jobs/job_store.h"

namespace ftd {

// NAME_IN_USE, QUOTA_EXCEEDED or QUEUE_FULL. Within the change that inserts, so that two submits
// cannot both pass.
absl::Status JobStore::CheckRoom(Database& database, const Job& job, int64_t max_queued,
                                 int64_t max_of_owner) const {
  if (!job.name.empty()) {
    FTD_ASSIGN_OR_RETURN(Statement statement, database.Prepare(sql::kNameTaken));
    FTD_ASSIGN_OR_RETURN(const bool taken, statement.Bind(job.name).Step());
    if (taken) {
      return Error(Reason::kNameInUse, absl::StrCat("a job named \"", job.name,
                                                    "\" exists already; choose another name"));
    }
  }
  if (max_of_owner < std::numeric_limits<int64_t>::max()) {
    auto counts = index_.CountByState(job.owner);
    // Also those that are held or paused: they may be queued again at any time.
    const int64_t own =
        counts[JobState::kQueued] + counts[JobState::kHeld] + counts[JobState::kPaused];
    if (own >= max_of_owner)
      return Error(Reason::kQuotaExceeded,
                   absl::StrCat(job.owner, " has ", own,
                                " jobs that wait, as many as one owner may; "
                                "wait, or cancel some"));
  }
  const int64_t queued = index_.Count(JobState::kQueued);
  if (queued < max_queued) return absl::OkStatus();
  return Error(Reason::kQueueFull,
               absl::StrCat("the queue is full (", queued, " jobs); wait, or cancel some"));
}

// One transaction for the key, the job and its first event. A client that lost the answer asks with
// the same key and gets the same job; after a crash there is either all or nothing.
absl::StatusOr<JobStore::Changed> JobStore::ApplyInsert(Database& database, const Job& job,
                                                        const std::optional<RequestKey>& request,
                                                        int64_t max_queued,
                                                        int64_t max_of_owner) const {
  FTD_RETURN_IF_ERROR(CheckRoom(database, job, max_queued, max_of_owner));
  Changed changed{.job = job, .event = {.to = JobState::kQueued, .message = "submitted"}};
  // As precise as it is stored.
  changed.job.create_time = absl::FromUnixMicros(absl::ToUnixMicros(absl::Now()));
  changed.event.time = changed.job.create_time;
  FTD_RETURN_IF_ERROR(CheckNeeded(database, changed.job));
  FTD_ASSIGN_OR_RETURN(changed.job.ordinal, InsertJob(database, changed.job));
  FTD_RETURN_IF_ERROR(InsertDependencies(database, changed.job));
  if (request.has_value()) FTD_RETURN_IF_ERROR(InsertRequest(database, changed.job, *request));
  FTD_ASSIGN_OR_RETURN(changed.event,
                       InsertEvent(database, changed.job.id, std::move(changed.event)));
  return changed;
}

void JobStore::Insert(Job job, std::optional<RequestKey> request, int64_t max_queued,
                      int64_t max_of_owner, Done done) {
  struct Wanted {
    Job job;
    std::optional<RequestKey> request;
    std::optional<Job> made_before;
  };
  const auto wanted =
      std::make_shared<Wanted>(Wanted{std::move(job), std::move(request), std::nullopt});
  Change(
      [=, this](Database& database) -> absl::StatusOr<Changed> {
        wanted->made_before.reset();  // by another change of this transaction, which was given up
        if (wanted->request.has_value()) {
          FTD_ASSIGN_OR_RETURN(const auto known, ReadRequest(database, *wanted->request));
          if (known.has_value()) {
            FTD_ASSIGN_OR_RETURN(wanted->made_before, ReadJob(database, *known));
            return absl::AlreadyExistsError("the request made a job before");
          }
        }
        return ApplyInsert(database, wanted->job, wanted->request, max_queued, max_of_owner);
      },
      [wanted, done = std::move(done)](absl::StatusOr<Job> inserted) {
        if (wanted->made_before.has_value()) inserted = *std::move(wanted->made_before);
        done(std::move(inserted));
      });
}

absl::StatusOr<Job> JobStore::Insert(Job job, std::optional<RequestKey> request, int64_t max_queued,
                                     int64_t max_of_owner) {
  return Wait([&](Done done) {
    Insert(std::move(job), std::move(request), max_queued, max_of_owner, std::move(done));
  });
}

}  // namespace ftd
