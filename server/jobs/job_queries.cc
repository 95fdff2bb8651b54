#include "server/jobs/job_queries.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/cleanup/cleanup.h"
#include "lib/base/error.h"
#include "server/jobs/job_rows.h"
#include "server/jobs/job_sql.h"
#include "server/jobs/job_states.h"
#include "server/jobs/json.h"

namespace ftd {
namespace {

// In their order, each once.
std::vector<JobState> StatesOf(const JobFilter& filter) {
  std::vector<JobState> states;
  for (const JobState state : kAllJobStates)
    if (filter.states.empty() || absl::c_linear_search(filter.states, state))
      states.push_back(state);
  return states;
}

// From ?3 on.
void BindFilter(Statement& statement, JobState state, const JobFilter& filter) {
  statement.Bind(JobStateName(state));
  if (filter.owner.has_value()) {
    statement.Bind(*filter.owner);
  } else if (!filter.labels.empty()) {
    statement.BindNull();
  }
  if (!filter.labels.empty()) statement.Bind(StringsToJson(filter.labels));
}

}  // namespace

absl::Status JobQueries::LoadIndex() {
  absl::MutexLock lock(&read_mutex_);
  FTD_ASSIGN_OR_RETURN(Statement statement, reader_.Prepare(sql::kIndexOfJobs));
  while (true) {
    FTD_ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (!row) return absl::OkStatus();
    index_.Replace(std::nullopt, IndexEntryFromRow(statement));
  }
}

absl::StatusOr<std::optional<Job>> JobQueries::FindRequest(const RequestKey& request) {
  absl::MutexLock lock(&read_mutex_);
  FTD_ASSIGN_OR_RETURN(const auto job_id, ReadRequest(reader_, request));
  if (!job_id.has_value()) return std::nullopt;
  FTD_ASSIGN_OR_RETURN(Job job, ReadJob(reader_, *job_id));
  return job;
}

absl::StatusOr<Job> JobQueries::Get(const std::string& id_or_name) {
  absl::MutexLock lock(&read_mutex_);
  return ReadJob(reader_, id_or_name);
}

absl::StatusOr<std::vector<Job>> JobQueries::List(int64_t before,
                                                  const std::vector<JobState>& states,
                                                  int64_t limit,
                                                  const std::optional<std::string>& owner) {
  constexpr int64_t kNoBound = std::numeric_limits<int64_t>::max();
  const JobFilter filter{.states = states, .owner = owner, .labels = {}};
  FTD_ASSIGN_OR_RETURN(JobPage page, Page(before, filter, limit, kNoBound));
  return std::move(page.jobs);
}

// By an index of each state, so that the few that run are found as fast among a hundred thousand
// that have ended.
absl::StatusOr<std::vector<int64_t>> JobQueries::Ordinals(int64_t before, const JobFilter& filter,
                                                          int64_t limit) {
  const char* sql = filter.owner.has_value() ? sql::kOrdinalsOfOwner : sql::kOrdinals;
  if (!filter.labels.empty()) sql = sql::kOrdinalsWithLabels;
  std::vector<int64_t> ordinals;
  for (const JobState state : StatesOf(filter)) {
    FTD_ASSIGN_OR_RETURN(Statement statement, reader_.Prepare(sql));
    BindFilter(statement.Bind(before).Bind(limit), state, filter);
    while (true) {
      FTD_ASSIGN_OR_RETURN(const bool row, statement.Step());
      if (!row) break;
      ordinals.push_back(statement.Int(0));
    }
  }
  std::sort(ordinals.begin(), ordinals.end(), std::greater<>());
  if (static_cast<int64_t>(ordinals.size()) > limit) ordinals.resize(static_cast<size_t>(limit));
  return ordinals;
}

absl::StatusOr<int64_t> JobQueries::Count(const JobFilter& filter) {
  int64_t total = 0;
  if (filter.labels.empty()) {
    auto counts = index_.CountByState(filter.owner);
    for (const JobState state : StatesOf(filter)) total += counts[state];
    return total;
  }
  absl::MutexLock lock(&read_mutex_);
  for (const JobState state : StatesOf(filter)) {
    FTD_ASSIGN_OR_RETURN(Statement statement, reader_.Prepare(sql::kCountWithLabels));
    BindFilter(statement.Bind(std::numeric_limits<int64_t>::max()).Bind(1), state, filter);
    FTD_RETURN_IF_ERROR(statement.Step().status());
    total += statement.Int(0);
  }
  return total;
}

absl::StatusOr<JobPage> JobQueries::Page(int64_t before, const JobFilter& filter, int64_t limit,
                                         int64_t most_bytes) {
  absl::MutexLock lock(&read_mutex_);
  // All of one moment: a job that changes its state meanwhile is neither missed nor given twice.
  FTD_RETURN_IF_ERROR(reader_.Run("BEGIN"));
  const absl::Cleanup end = [this] {
    read_mutex_.AssertHeld();
    reader_.Run("COMMIT").IgnoreError();
  };
  // One row more tells whether there are others.
  FTD_ASSIGN_OR_RETURN(const std::vector<int64_t> ordinals,
                       Ordinals(before, filter, limit == INT64_MAX ? limit : limit + 1));
  JobPage page;
  int64_t bytes = 0;
  for (const int64_t ordinal : ordinals) {
    page.more = static_cast<int64_t>(page.jobs.size()) == limit || bytes > most_bytes;
    if (page.more) break;
    FTD_ASSIGN_OR_RETURN(Statement statement, reader_.Prepare(sql::kJobByOrdinal));
    FTD_RETURN_IF_ERROR(statement.Bind(ordinal).Step().status());
    bytes += static_cast<int64_t>(page.jobs.emplace_back(JobFromRow(statement)).spec_json.size());
  }
  return page;
}

absl::Status JobQueries::ForEach(const std::vector<JobState>& states,
                                 const std::optional<std::string>& owner,
                                 absl::FunctionRef<absl::Status(Job)> take) {
  constexpr int64_t kPage = 1000;
  int64_t before = INT64_MAX;
  while (true) {
    FTD_ASSIGN_OR_RETURN(std::vector<Job> page, List(before, states, kPage, owner));
    if (page.empty()) return absl::OkStatus();
    before = page.back().ordinal;
    for (Job& job : page) FTD_RETURN_IF_ERROR(take(std::move(job)));
  }
}

absl::StatusOr<std::vector<Job>> JobQueries::Queued(int64_t limit) {
  absl::MutexLock lock(&read_mutex_);
  FTD_ASSIGN_OR_RETURN(Statement statement, reader_.Prepare(sql::kQueued));
  statement.Bind(limit);
  return AllJobs(statement);
}

absl::StatusOr<std::optional<Job>> JobQueries::NextQueued() {
  absl::MutexLock lock(&read_mutex_);
  FTD_ASSIGN_OR_RETURN(Statement statement, reader_.Prepare(sql::kNextQueued));
  FTD_ASSIGN_OR_RETURN(const bool row, statement.Step());
  if (!row) return std::nullopt;
  return JobFromRow(statement);
}

absl::StatusOr<std::vector<Job>> JobQueries::Active() {
  absl::MutexLock lock(&read_mutex_);
  FTD_ASSIGN_OR_RETURN(Statement statement, reader_.Prepare(sql::kActiveJobs));
  return AllJobs(statement);
}

int64_t JobQueries::CountActive() const {
  int64_t active = 0;
  for (const JobState state : kAllJobStates)
    if (IsActive(state)) active += index_.Count(state);
  return active;
}

absl::StatusOr<std::optional<absl::Time>> JobQueries::OldestQueued() {
  absl::MutexLock lock(&read_mutex_);
  FTD_ASSIGN_OR_RETURN(Statement statement, reader_.Prepare(sql::kOldestQueued));
  FTD_ASSIGN_OR_RETURN(const bool row, statement.Step());
  return row ? statement.Time(0) : std::nullopt;
}

absl::StatusOr<std::vector<Attempt>> JobQueries::Attempts(const std::string& job_id) {
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
absl::StatusOr<std::vector<StateEvent>> JobQueries::Events(const std::string& job_id, int64_t after,
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

absl::StatusOr<std::optional<Notification>> JobQueries::NextNotification() {
  absl::MutexLock lock(&read_mutex_);
  FTD_ASSIGN_OR_RETURN(Statement statement, reader_.Prepare(sql::kNextNotification));
  FTD_ASSIGN_OR_RETURN(const bool row, statement.Step());
  if (!row) return std::nullopt;
  return NotificationFromRow(statement);
}

}  // namespace ftd
