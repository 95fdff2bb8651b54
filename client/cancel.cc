// ftctl cancel: end a job.
#include "client/job_action.h"

namespace ftd {

int CancelVerb(const Invocation& call) {
  return JobAction(call, "cancel",
                   "End a job. One that waits ends at once; one that trains stops within seconds "
                   "(`ftctl wait` sees it).",
                   [](Connection& connection, const std::string& job) {
                     ftd::v1::CancelJobRequest request;
                     request.set_job(job);
                     return connection.Call(&ftd::v1::FineTuning::Stub::CancelJob, request);
                   });
}

}  // namespace ftd
