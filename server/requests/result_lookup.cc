#include "server/requests/result_lookup.h"

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "lib/base/error.h"

namespace ftd {

absl::Status CheckNotPruned(JobStore& store, const Job& job) {
  FTD_ASSIGN_OR_RETURN(const auto removals, store.Removals(job.id));
  for (const Removal& removal : removals) {
    if (removal.kind != RemovalKind::kResult) continue;
    return Error(
        Reason::kResultPruned,
        absl::StrCat("the result of job ", job.DisplayName(), " was pruned at ",
                     absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", removal.time, absl::UTCTimeZone()),
                     removal.owner.empty() ? ", by ftd itself" : ", for ", removal.owner,
                     ", as the retention_result settings say; `ftctl retry ", job.DisplayName(),
                     "` makes it again"));
  }
  return absl::OkStatus();
}

absl::Status CheckHasResult(const Job& job) {
  if (job.state == JobState::kSucceeded && !job.result_dir.empty()) return absl::OkStatus();
  return Error(Reason::kStateConflict,
               absl::StrCat("job ", job.DisplayName(), " is ", JobStateName(job.state),
                            " and has no result; a result comes with SUCCEEDED"));
}

}  // namespace ftd
