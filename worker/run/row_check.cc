#include "worker/run/row_check.h"

#include <algorithm>
#include <thread>

#include "lib/base/error.h"
#include "worker/run/dataset_rows.h"
#include "worker/run/failure.h"
#include "worker/run/side_work.h"

namespace ftd {
namespace {

// Half of the threads: the other half is left to the job that trains, beside whatever the priority
// gives it.
int Threads() { return std::max(1, static_cast<int>(std::thread::hardware_concurrency()) / 2); }

}  // namespace

v1::WorkerEvent::End CheckRows(const v1::AttemptRequest& request, const TrainSpec& spec,
                               const std::filesystem::path& dir, RunObserver& observer,
                               const StopFlags& flags) {
  absl::Status status = BecomeSideWorker(request.row_check().daemon_pid());
  if (status.ok()) status = PrepareRows(request, spec, dir, Threads(), observer, flags).status();
  if (!status.ok() && !flags.stop) return FailureOf(status, {});
  v1::WorkerEvent::End end;
  end.set_outcome(flags.stop ? v1::WorkerEvent::End::STOPPED : v1::WorkerEvent::End::SUCCEEDED);
  return end;
}

}  // namespace ftd
