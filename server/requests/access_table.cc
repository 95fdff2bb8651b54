#include "server/requests/access_table.h"

#include <algorithm>

namespace ftd {
namespace {

constexpr bool kLocal = true;

constexpr AccessRow kAccessTable[] = {
    {"SubmitJob", Role::kSubmit},
    {"CheckData", Role::kSubmit},
    {"EstimateJob", Role::kSubmit},
    {"GetJob", Role::kRead, Touches::kReads},
    {"ListJobs", Role::kRead},
    {"WatchJob", Role::kRead, Touches::kReads},
    {"WatchQueue", Role::kRead},
    {"TailLog", Role::kRead, Touches::kReads},
    {"CancelJob", Role::kSubmit, Touches::kChanges},
    {"PauseJob", Role::kSubmit, Touches::kChanges},
    {"ResumeJob", Role::kSubmit, Touches::kChanges},
    {"HoldJob", Role::kSubmit, Touches::kChanges},
    {"ReleaseJob", Role::kSubmit, Touches::kChanges},
    {"UpdateJob", Role::kSubmit, Touches::kChanges},
    // Not a change of the job, but the new one trains on its owner's model and data.
    {"RetryJob", Role::kSubmit, Touches::kChanges},
    {"DeleteJob", Role::kSubmit, Touches::kChanges},
    {"QueryMetrics", Role::kRead, Touches::kReads},
    {"ListCheckpoints", Role::kRead, Touches::kReads},
    {"ListModels", Role::kRead},
    {"PullModel", Role::kSubmit},
    // The cache is everybody's, so nobody owns what is in it.
    {"DeleteModel", Role::kAdmin},
    {"VerifyModel", Role::kSubmit},
    {"UploadFile", Role::kSubmit},
    {"DownloadResult", Role::kRead, Touches::kReads},
    {"ExportJob", Role::kSubmit, Touches::kReads},
    {.method = "Generate",
     .least = Role::kSubmit,
     .touches = Touches::kReads,
     .may_name_none = true},
    // Publishing what is another's is not for everybody who may read it.
    {"PushResult", Role::kSubmit, Touches::kChanges},
    // With one token a caller could otherwise make others, which would outlive its revocation.
    {"CreateToken", Role::kAdmin, Touches::kNoJob, kLocal},
    {"ListTokens", Role::kAdmin, Touches::kNoJob, kLocal},
    {"RevokeToken", Role::kAdmin, Touches::kNoJob, kLocal},
    // Of those who are not admins it removes what their own jobs left.
    {"Prune", Role::kSubmit},
    // It has the specs of everybody's jobs.
    {"BackUpDatabase", Role::kAdmin},
    {"DrainQueue", Role::kAdmin},
    {"UndrainQueue", Role::kAdmin},
    {"GetServerInfo", Role::kRead},
};

}  // namespace

absl::Span<const AccessRow> AccessTable() { return kAccessTable; }

const AccessRow& AccessRowOf(std::string_view method) {
  return *std::find_if(std::begin(kAccessTable), std::end(kAccessTable),
                       [&](const AccessRow& row) { return method == row.method; });
}

Verdict Decide(const Caller& caller, const AccessRow& row, std::string_view owner,
               Visibility visibility) {
  const bool owns = caller.role == Role::kAdmin || (!owner.empty() && owner == caller.owner);
  const bool others = row.touches != Touches::kNoJob && !owns;
  // Before all else: a refusal for another reason would show that the job is there.
  if (others && visibility == Visibility::kOwner) return Verdict::kHidden;
  if (row.local && !caller.uid.has_value()) return Verdict::kNotLocal;
  if (caller.role < row.least) return Verdict::kRoleTooLow;
  if (others && row.touches == Touches::kChanges) return Verdict::kNotOwner;
  return Verdict::kAllowed;
}

}  // namespace ftd
