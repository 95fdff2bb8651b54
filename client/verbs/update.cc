// ftctl update: priority, labels and time limit of a job that has not ended.
#include <string>
#include <vector>

#include "client/command/job_action.h"
#include "client/command/submit_flags.h"
#include "lib/base/error.h"

namespace ftd {

// Labels are merged: only the ones that are named change.
int UpdateVerb(const Invocation& call) {
  ftd::v1::UpdateJobRequest request;
  std::vector<std::string> labels, removed;
  std::string limit;
  return JobAction(
      call,
      {"update",
       "Change a job's priority, labels or time limit. A queued job has its new place at once.",
       "  ftctl update first --priority 10\n  ftctl update first --label team=blue "
       "--remove-label draft\n"},
      [&](Connection& connection, const std::string& job) -> absl::StatusOr<ftd::v1::Job> {
        request.set_job(job);
        FTD_RETURN_IF_ERROR(ParseLabels(labels, request.mutable_labels()));
        for (const std::string& key : removed) request.add_remove_labels(key);
        if (!limit.empty()) {
          FTD_ASSIGN_OR_RETURN(const int64_t seconds, ParseTimeLimit(limit));
          request.set_time_limit_seconds(seconds);
        }
        if (!request.has_priority() && labels.empty() && removed.empty() && limit.empty()) {
          return Error(
              Reason::kUsage,
              "nothing to change; give --priority, --label, --remove-label or --time-limit");
        }
        return connection.Call(&ftd::v1::FineTuning::Stub::UpdateJob, request);
      },
      [&](Flags& flags) {
        flags.Int32("--priority", "Higher runs earlier, -1000 to 1000",
                    [&](int32_t priority) { request.set_priority(priority); });
        flags.Repeated("--label", "To set; may be given several times", &labels, "KEY=VALUE");
        flags.Repeated("--remove-label", "To remove; may be given several times", &removed, "KEY");
        flags.Text("--time-limit", "How long it may take in all, such as 90m or 1d12h, or none",
                   &limit, "TIME");
      });
}

}  // namespace ftd
