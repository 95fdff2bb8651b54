// ftctl cancel: end a job.
#include "client/command/job_action.h"

namespace ftd {

// Returns once the request is stored; `ftctl wait` sees the end.
int CancelVerb(const Invocation& call) {
  ftd::v1::CancelJobRequest request;
  return JobAction(
      call,
      {"cancel",
       "End a job. One that waits ends at once; one that trains stops within seconds (`ftctl wait` "
       "sees it).\nWith --keep it ends SUCCEEDED, with what it has learned so far as its result.",
       "  ftctl cancel first\n  ftctl cancel --keep first && ftctl wait first && ftctl get first "
       "out\n"},
      [&](Connection& connection, const std::string& job) {
        request.set_job(job);
        return connection.Call(&ftd::v1::FineTuning::Stub::CancelJob, request);
      },
      [&](Flags& flags) {
        flags.Switch("--keep", "Make the result of the steps taken, or of the newest checkpoint",
                     [&](bool keep) { request.set_keep(keep); });
        flags.Text("--reason", "Why, for the record",
                   [&](const std::string& reason) { request.set_reason(reason); });
      });
}

}  // namespace ftd
