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

void JobStore::Insert(const Job& job, const std::optional<RequestKey>& request, int64_t max_queued,
                      int64_t max_of_owner, Done done) {
  const auto made_before = std::make_shared<std::optional<Job>>();
  Change(
      [=, this](Database& database) -> absl::StatusOr<Changed> {
        if (request.has_value()) {
          FTD_ASSIGN_OR_RETURN(const auto known, ReadRequest(database, *request));
          if (known.has_value()) {
            FTD_ASSIGN_OR_RETURN(*made_before, ReadJob(database, *known));
            return absl::AlreadyExistsError("the request made a job before");
          }
        }
        return ApplyInsert(database, job, request, max_queued, max_of_owner);
      },
      [made_before, done = std::move(done)](absl::StatusOr<Job> inserted) {
        done(made_before->has_value() ? absl::StatusOr<Job>(**made_before) : std::move(inserted));
      });
}

absl::StatusOr<Job> JobStore::Insert(const Job& job, const std::optional<RequestKey>& request,
                                     int64_t max_queued, int64_t max_of_owner) {
  return Wait([&](Done done) { Insert(job, request, max_queued, max_of_owner, std::move(done)); });
}

}  // namespace ftd
