#include "worker/run/side_work.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>

namespace ftd {

absl::Status BecomeSideWorker(int64_t daemon_pid, int niceness) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // It may have ended before that.
  if (daemon_pid != 0 && ::getppid() != daemon_pid)
    return absl::CancelledError("the daemon that asked has ended");
  ::setpriority(PRIO_PROCESS, 0, niceness);
  return absl::OkStatus();
}

}  // namespace ftd
