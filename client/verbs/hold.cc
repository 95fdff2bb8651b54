// ftctl hold and release: keep a queued job back, and let it run.
#include "client/command/job_action.h"

namespace ftd {

int HoldVerb(const Invocation& call) {
  return JobAction(
      call, {"hold", "Keep a queued job back until `ftctl release`.", "  ftctl hold first\n"},
      [](Connection& connection, const std::string& job) {
        ftd::v1::HoldJobRequest request;
        request.set_job(job);
        return connection.Call(&ftd::v1::FineTuning::Stub::HoldJob, request);
      });
}

int ReleaseVerb(const Invocation& call) {
  return JobAction(call, {"release", "Let a held job run.", "  ftctl release first\n"},
                   [](Connection& connection, const std::string& job) {
                     ftd::v1::ReleaseJobRequest request;
                     request.set_job(job);
                     return connection.Call(&ftd::v1::FineTuning::Stub::ReleaseJob, request);
                   });
}

}  // namespace ftd
