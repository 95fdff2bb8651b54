// May this caller do this? Asked once for every call.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "server/jobs/job_store.h"
#include "server/requests/access_table.h"
#include "server/requests/caller.h"

namespace ftd {

// Asks Decide and says no in words. Thread-safe.
class Access {
 public:
  // `store` must outlive it.
  Access(JobStore& store, Visibility visibility) : store_(store), visibility_(visibility) {}

  // Returns the id of the job that the request names ("" for a method that touches none), if
  // `caller` may call the method for it. Errors: PERMISSION_DENIED NOT_OWNER; NOT_FOUND
  // JOB_NOT_FOUND, also for a job that is hidden.
  absl::StatusOr<std::string> Check(const Caller& caller, std::string_view method,
                                    const std::string& job) const;

  // Returns the owner whose jobs alone the caller sees; none: the caller sees all.
  std::optional<std::string> OnlyOwner(const Caller& caller) const;

 private:
  JobStore& store_;
  const Visibility visibility_;
};

}  // namespace ftd
