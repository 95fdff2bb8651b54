#include "server/requests/access.h"

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "server/jobs/job_rows.h"

namespace ftd {
namespace {

absl::Status Refused(const Caller& caller, const AccessRow& row, Verdict verdict, const Job& job) {
  switch (verdict) {
    case Verdict::kNotLocal:
      return Error(Reason::kNotOwner, absl::StrCat(row.method,
                                                   " is called on ftd's machine, over "
                                                   "its unix socket, and not over TCP"));
    case Verdict::kRoleTooLow:
      return Error(Reason::kNotOwner,
                   absl::StrCat(row.method, " takes the role ", RoleName(row.least), "; ",
                                caller.owner, " has the role ", RoleName(caller.role)));
    default:
      return Error(Reason::kNotOwner,
                   absl::StrCat("job ", job.DisplayName(), " belongs to ",
                                job.owner.empty() ? "nobody" : job.owner, ", and you are ",
                                caller.owner, ": only its owner or an admin may do this"));
  }
}

}  // namespace

absl::StatusOr<std::string> Access::Check(const Caller& caller, std::string_view method,
                                          const std::string& name) const {
  AccessRow row = AccessRowOf(method);
  if (row.may_name_none && name.empty()) row.touches = Touches::kNoJob;
  Job job;
  if (row.touches != Touches::kNoJob) {
    FTD_ASSIGN_OR_RETURN(job, store_.Get(name));
  }
  const Verdict verdict = Decide(caller, row, job.owner, visibility_);
  if (verdict == Verdict::kAllowed) return job.id;
  return verdict == Verdict::kHidden ? JobNotFound(name) : Refused(caller, row, verdict, job);
}

std::optional<std::string> Access::OnlyOwner(const Caller& caller) const {
  if (visibility_ == Visibility::kGroup || caller.role == Role::kAdmin) return std::nullopt;
  return caller.owner;
}

}  // namespace ftd
