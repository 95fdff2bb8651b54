#include "worker/run/row_check.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <thread>

#include "lib/base/error.h"
#include "worker/run/dataset_rows.h"
#include "worker/run/failure.h"

namespace ftd {
namespace {

constexpr int kLowest = 19;

// Half of the threads: the other half is left to the job that trains, beside whatever the priority
// gives it.
int Threads() { return std::max(1, static_cast<int>(std::thread::hardware_concurrency()) / 2); }

}  // namespace

v1::WorkerEvent::End CheckRows(const v1::AttemptRequest& request, const TrainSpec& spec,
                               const std::filesystem::path& dir, RunObserver& observer,
                               const StopFlags& flags) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // It may have ended before that.
  const int64_t daemon = request.row_check().daemon_pid();
  if (daemon != 0 && ::getppid() != daemon)
    return FailureOf(absl::CancelledError("the daemon that asked has ended"), {});
  ::setpriority(PRIO_PROCESS, 0, kLowest);
  const absl::Status status = PrepareRows(request, spec, dir, Threads(), observer, flags).status();
  if (!status.ok() && !flags.stop) return FailureOf(status, {});
  v1::WorkerEvent::End end;
  end.set_outcome(flags.stop ? v1::WorkerEvent::End::STOPPED : v1::WorkerEvent::End::SUCCEEDED);
  return end;
}

}  // namespace ftd
