#include "worker/commands/attempt.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

#include "lib/base/device_lock.h"
#include "lib/base/error.h"
#include "lib/base/manifest.h"
#include "worker/commands/event_log.h"
#include "worker/engine/train.h"
#include "worker/run/attempt_request.h"
#include "worker/run/control_server.h"
#include "worker/run/generation_work.h"
#include "worker/run/result_export.h"
#include "worker/run/row_check.h"
#include "worker/run/sources.h"
#include "worker/run/training_run.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

absl::StatusOr<int> Run(const fs::path& dir, int lock_fd, int token_fd) {
  // The daemon has locked the file already. Without a descriptor (a developer by hand) the worker
  // locks it itself.
  Fd lock(lock_fd);
  std::string hub_token = TakeToken(token_fd);
  if (lock.valid()) {
    ::fcntl(lock.get(), F_SETFD, FD_CLOEXEC);
  } else {
    FTD_ASSIGN_OR_RETURN(lock, LockFile(dir / "worker.lock"));
  }
  lock.Release();  // held by the process, to its very end: until then it has memory and device
  FTD_ASSIGN_OR_RETURN(v1::AttemptRequest request, ReadAttemptRequest(dir / "request.json"));
  FTD_ASSIGN_OR_RETURN(TrainSpec spec, SpecOf(request));
  FTD_ASSIGN_OR_RETURN(std::unique_ptr<EventLog> events, EventLog::Create(dir / "events.log"));
  const auto finish = [&events](const v1::WorkerEvent::End& end) {
    events->End(end);
    return end.outcome() == v1::WorkerEvent::End::FAILED ? 1 : 0;
  };
  if (request.has_generation()) return finish(GenerateForDaemon(request, spec, dir));
  StopFlags flags;
  // Called on the control thread. Whoever writes the end record first ends the process; the other
  // returns.
  auto abandon = [&events] {
    v1::WorkerEvent::End end;
    end.set_outcome(v1::WorkerEvent::End::STOPPED);
    if (events->End(end)) ::_exit(0);
  };
  // Before torch starts threads: the signals have to be blocked in all of them.
  FTD_ASSIGN_OR_RETURN(std::unique_ptr<ControlServer> control,
                       ControlServer::Start(dir, &flags, abandon));
  if (request.has_row_check()) return finish(CheckRows(request, spec, dir, *events, flags));
  if (request.has_result_export()) return finish(ExportResult(request, dir, *events));
  engine::InitializeProcess();
  const int64_t resumed = request.resume_from().empty() ? 0 : CheckpointStep(request.resume_from());
  events->Started(request, spec, engine::DeviceName(), resumed + 1);
  const RunOrder order{.request = std::move(request),
                       .spec = std::move(spec),
                       .places = {.dir = dir,
                                  .step_log = dir / "steps.log",
                                  .tensorboard = dir / "tensorboard",
                                  .result = dir / "result"},
                       .hub_token = std::move(hub_token),
                       .end_now = [&events](const v1::WorkerEvent::End& end) {
                         if (events->End(end)) ::_exit(1);
                       }};
  return finish(RunTraining(order, *events, flags));
}

}  // namespace

// 2: the attempt could not begin, so there is no end record and the daemon judges by the exit
// status and worker.log.
int RunAttempt(const fs::path& attempt_dir, int lock_fd, int token_fd) {
  const absl::StatusOr<int> exit_status = Run(attempt_dir, lock_fd, token_fd);
  if (exit_status.ok()) return *exit_status;
  std::fprintf(stderr, "ft-worker: %s\n", std::string(exit_status.status().message()).c_str());
  return 2;
}

}  // namespace ftd
