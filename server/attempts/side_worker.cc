#include "server/attempts/side_worker.h"

#include <poll.h>

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "server/attempts/attempt_files.h"
#include "server/attempts/attempt_follower.h"
#include "server/attempts/worker_process.h"

namespace ftd {
namespace {

constexpr int kExitLookMs = 100;
constexpr size_t kLastWords = 2000;

// Reads what is new in the worker's log.
void Follow(AttemptFollower& follower, const SideWorkObserver& observer, SideWork* work) {
  for (v1::WorkerEvent& event : follower.Read().events) {
    if (event.has_progress() && observer.progress) observer.progress(event.progress());
    if (event.has_warning()) work->warnings.push_back(event.warning().message());
    if (event.has_data_report()) work->report = std::move(*event.mutable_data_report());
    if (event.has_end()) work->end = event.end();
  }
}

}  // namespace

absl::StatusOr<SideWork> RunSideWorker(const std::string& worker, const std::filesystem::path& dir,
                                       Fd lock, const SideWorkObserver& observer) {
  FTD_ASSIGN_OR_RETURN(AttemptFollower follower, AttemptFollower::Open(dir));
  FTD_ASSIGN_OR_RETURN(WorkerProcess process,
                       WorkerProcess::Spawn(worker, dir, lock, /*hub_token=*/""));
  lock.Reset();
  SideWork work;
  bool stopped = false;
  while (!process.Reap().has_value()) {
    pollfd polled{.fd = process.pidfd(), .events = POLLIN};
    poll(&polled, 1, kExitLookMs);
    Follow(follower, observer, &work);
    if (stopped || observer.go_on()) continue;
    stopped = true;
    process.KillGroup();
  }
  if (stopped) return absl::CancelledError("the work was broken off");
  Follow(follower, observer, &work);
  if (work.end.outcome() != v1::WorkerEvent::End::OUTCOME_UNSPECIFIED) return work;
  return Error(Reason::kInternal,
               absl::StrCat("the worker ended without a report: ",
                            absl::StripAsciiWhitespace(
                                FileTail(dir / kWorkerLog, kLastWords).value_or(""))));
}

absl::Status StatusOf(const v1::WorkerEvent::End& end) {
  if (end.outcome() == v1::WorkerEvent::End::SUCCEEDED) return absl::OkStatus();
  const Reason reason = ReasonNamed(v1::FailureReason_Name(end.failure_reason()));
  return Error(reason == Reason::kNone ? Reason::kInternal : reason, end.message());
}

}  // namespace ftd
