// ListJobs.
#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "lib/base/error.h"
#include "lib/base/sha256.h"
#include "server/api/fine_tuning_service.h"
#include "server/api/page.h"
#include "server/jobs/json.h"
#include "server/jobs/wire.h"
#include "server/requests/job_view.h"

namespace ftd {
namespace {

// Jobs on a page of ListJobs. A client may ask for any number and gets kMaxPage at most.
constexpr int64_t kDefaultPage = 50, kMaxPage = 1000;

// Returns the filter as text: a token holds it, so that a page is not continued under another one.
std::string TextOf(const JobFilter& filter) {
  std::string text = absl::StrJoin(filter.states, ",", [](std::string* out, JobState state) {
    out->append(JobStateName(state));
  });
  // As a digest: labels may have any bytes, and many of them.
  if (!filter.labels.empty()) absl::StrAppend(&text, ",", Sha256Hex(StringsToJson(filter.labels)));
  return text;
}

}  // namespace

// Lists jobs from the newest to the oldest. The token of a page names the last job on it by its
// ordinal, so jobs that are submitted or deleted between two pages shift nothing.
absl::Status FineTuningService::List(const Caller& caller, const v1::ListJobsRequest& request,
                                     v1::ListJobsResponse* response) {
  if (request.page_size() < 0) return FieldError({{"page_size", "must not be negative"}});
  JobFilter filter{.states = {},
                   .owner = parts_.access.OnlyOwner(caller),
                   .labels = {request.labels().begin(), request.labels().end()}};
  for (const int state : request.states()) {
    if (!v1::Job::State_IsValid(state) || state == v1::Job::STATE_UNSPECIFIED) {
      return FieldError(
          {{"states", absl::StrCat("has ", state, ", which is not a state of a job")}});
    }
    filter.states.push_back(FromWire(static_cast<v1::Job::State>(state)));
  }
  FTD_ASSIGN_OR_RETURN(const int64_t before,
                       DecodePageToken(request.page_token(), TextOf(filter), INT64_MAX));
  const int64_t size =
      request.page_size() == 0 ? kDefaultPage : std::min<int64_t>(request.page_size(), kMaxPage);
  FTD_ASSIGN_OR_RETURN(const JobPage page,
                       parts_.store.Page(before, filter, size, static_cast<int64_t>(kPageBytes)));
  Page<v1::Job> views(response->mutable_jobs());
  bool more = page.more;
  int64_t last = before;
  for (const Job& job : page.jobs) {
    FTD_ASSIGN_OR_RETURN(v1::Job view, ViewJobBriefly(parts_.store, parts_.state_dir, job));
    parts_.forecast.AddTo(job, &view);
    if (!views.Add(std::move(view))) {
      more = true;
      break;
    }
    last = job.ordinal;
  }
  if (more) response->set_next_page_token(EncodePageToken(last, TextOf(filter)));
  if (!request.page_token().empty()) return absl::OkStatus();
  // Counted only where the page does not say it.
  int64_t total = response->jobs_size();
  if (more) {
    FTD_ASSIGN_OR_RETURN(total, parts_.store.Count(filter));
  }
  response->set_total_size(total);
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
