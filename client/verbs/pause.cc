// ftctl pause and resume: free the device of a running job, and let the job continue where it was.
#include <chrono>
#include <thread>

#include "client/command/job_action.h"
#include "lib/base/error.h"

namespace ftd {
namespace {

constexpr auto kLookAgain = std::chrono::milliseconds(200);

// Waits until the job is no longer PAUSING and returns it.
absl::StatusOr<ftd::v1::Job> AwaitPause(Connection& connection, ftd::v1::Job job) {
  ftd::v1::GetJobRequest request;
  request.set_job(job.id());
  while (job.state() == ftd::v1::Job::PAUSING) {
    std::this_thread::sleep_for(kLookAgain);
    FTD_ASSIGN_OR_RETURN(job, connection.Call(&ftd::v1::FineTuning::Stub::GetJob, request));
  }
  return job;
}

}  // namespace

// With --wait it returns once the device is free, for a program that needs it.
int PauseVerb(const Invocation& call) {
  bool wait = false;
  return JobAction(
      call,
      {"pause",
       "Stop a running job with a checkpoint and free the device until `ftctl resume`. It is "
       "PAUSING while\nits worker writes the checkpoint, then PAUSED.",
       "  ftctl pause first\n  ftctl pause --wait first && ./needs-the-gpu; ftctl resume first\n"},
      [&](Connection& connection, const std::string& name) -> absl::StatusOr<ftd::v1::Job> {
        ftd::v1::PauseJobRequest request;
        request.set_job(name);
        FTD_ASSIGN_OR_RETURN(ftd::v1::Job job,
                             connection.Call(&ftd::v1::FineTuning::Stub::PauseJob, request));
        return wait ? AwaitPause(connection, std::move(job)) : job;
      },
      [&](Flags& flags) {
        flags.Switch("--wait", "Come back when the job's worker has ended and the device is free",
                     &wait);
      });
}

int ResumeVerb(const Invocation& call) {
  return JobAction(call,
                   {"resume", "Queue a paused job again; it continues from its checkpoint.",
                    "  ftctl resume first\n"},
                   [](Connection& connection, const std::string& job) {
                     ftd::v1::ResumeJobRequest request;
                     request.set_job(job);
                     return connection.Call(&ftd::v1::FineTuning::Stub::ResumeJob, request);
                   });
}

}  // namespace ftd
