// ftctl update: priority and labels of a job that has not ended.
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
  return JobAction(
      call,
      {"update", "Change a job's priority or labels. A queued job has its new place at once.",
       "  ftctl update first --priority 10\n  ftctl update first --label team=blue "
       "--remove-label draft\n"},
      [&](Connection& connection, const std::string& job) -> absl::StatusOr<ftd::v1::Job> {
        request.set_job(job);
        FTD_RETURN_IF_ERROR(ParseLabels(labels, request.mutable_labels()));
        for (const std::string& key : removed) request.add_remove_labels(key);
        if (!request.has_priority() && labels.empty() && removed.empty()) {
          return Error(Reason::kUsage,
                       "nothing to change; give --priority, --label or --remove-label");
        }
        return connection.Call(&ftd::v1::FineTuning::Stub::UpdateJob, request);
      },
      [&](Flags& flags) {
        flags.Int32("--priority", "Higher runs earlier, -1000 to 1000",
                    [&](int32_t priority) { request.set_priority(priority); });
        flags.Repeated("--label", "To set; may be given several times", &labels, "KEY=VALUE");
        flags.Repeated("--remove-label", "To remove; may be given several times", &removed, "KEY");
      });
}

}  // namespace ftd
