// ListJobs.
#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "lib/base/error.h"
#include "server/api/fine_tuning_service.h"
#include "server/api/page.h"
#include "server/jobs/wire.h"
#include "server/requests/job_view.h"

namespace ftd {
namespace {

// Jobs on a page of ListJobs. A client may ask for any number and gets kMaxPage at most.
constexpr int64_t kDefaultPage = 50, kMaxPage = 1000;

// Returns the filter as text: a token holds it, so that a page is not continued under another one.
std::string FilterOf(const std::vector<JobState>& states) {
  return absl::StrJoin(states, ",",
                       [](std::string* out, JobState state) { out->append(JobStateName(state)); });
}

// How many jobs are in those states (of an owner, if one is given); without states all of them.
int64_t Count(const JobStore& store, const std::vector<JobState>& states,
              const std::optional<std::string>& owner) {
  int64_t total = 0;
  for (const auto& [state, count] : store.CountByState(owner)) {
    if (states.empty() || absl::c_linear_search(states, state)) total += count;
  }
  return total;
}

}  // namespace

// Lists jobs from the newest to the oldest. The token of a page names the last job on it by its
// ordinal, so jobs that are submitted or deleted between two pages shift nothing.
absl::Status FineTuningService::List(const Caller& caller, const v1::ListJobsRequest& request,
                                     v1::ListJobsResponse* response) {
  if (request.page_size() < 0) return FieldError({{"page_size", "must not be negative"}});
  std::vector<JobState> states;
  for (const int state : request.states()) {
    if (!v1::Job::State_IsValid(state) || state == v1::Job::STATE_UNSPECIFIED) {
      return FieldError(
          {{"states", absl::StrCat("has ", state, ", which is not a state of a job")}});
    }
    states.push_back(FromWire(static_cast<v1::Job::State>(state)));
  }
  FTD_ASSIGN_OR_RETURN(const int64_t before,
                       DecodePageToken(request.page_token(), FilterOf(states), INT64_MAX));
  const int64_t size =
      request.page_size() == 0 ? kDefaultPage : std::min<int64_t>(request.page_size(), kMaxPage);
  const auto owner = parts_.access.OnlyOwner(caller);
  FTD_ASSIGN_OR_RETURN(
      const JobPage page,
      parts_.store.Page(before, states, size, static_cast<int64_t>(kPageBytes), owner));
  Page<v1::Job> views(response->mutable_jobs());
  bool more = page.more;
  int64_t last = before;
  for (const Job& job : page.jobs) {
    FTD_ASSIGN_OR_RETURN(v1::Job view, ViewJobBriefly(parts_.store, parts_.state_dir, job));
    if (!views.Add(std::move(view))) {
      more = true;
      break;
    }
    last = job.ordinal;
  }
  if (more) response->set_next_page_token(EncodePageToken(last, FilterOf(states)));
  if (!request.page_token().empty()) return absl::OkStatus();
  // Counted only where the page does not say it.
  response->set_total_size(more ? Count(parts_.store, states, owner) : response->jobs_size());
  return absl::OkStatus();
}

FineTuningService::Unary* FineTuningService::ListJobs(Context* context,
                                                      const v1::ListJobsRequest* request,
                                                      v1::ListJobsResponse* response) {
  return OnPool(context, {"ListJobs", ""}, [=, this](const Caller& caller, const auto&) {
    return List(caller, *request, response);
  });
}

}  // namespace ftd
