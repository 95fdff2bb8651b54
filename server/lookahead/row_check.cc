#include "server/lookahead/row_check.h"

#include <poll.h>

#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "server/attempts/attempt_files.h"
#include "server/attempts/attempt_follower.h"
#include "server/attempts/attempt_start.h"
#include "server/attempts/worker_process.h"

namespace ftd {
namespace {

constexpr int kLookMs = 100;
constexpr size_t kLastWords = 2000;

// Reads what is new in the worker's log.
void Follow(AttemptFollower& follower, const RowCheckObserver& observer, RowCheck* check) {
  for (v1::WorkerEvent& event : follower.Read().events) {
    if (event.has_progress() && observer.progress) observer.progress(event.progress());
    if (event.has_warning()) check->warnings.push_back(event.warning().message());
    if (event.has_data_report()) check->report = std::move(*event.mutable_data_report());
    if (event.has_end()) check->end = event.end();
  }
}

absl::StatusOr<RowCheck> CheckIn(const std::string& worker, const StateDir& state_dir,
                                 const std::filesystem::path& path, const Job& job,
                                 const RowCheckObserver& observer) {
  FTD_ASSIGN_OR_RETURN(const ScratchDir dir, ScratchDir::Create(path));
  FTD_ASSIGN_OR_RETURN(Fd lock, PrepareRowCheck(state_dir, job, dir.path()));
  FTD_ASSIGN_OR_RETURN(AttemptFollower follower, AttemptFollower::Open(dir.path()));
  FTD_ASSIGN_OR_RETURN(WorkerProcess process,
                       WorkerProcess::Spawn(worker, dir.path(), lock, /*hub_token=*/""));
  lock.Reset();
  RowCheck check;
  bool stopped = false;
  while (!process.Reap().has_value()) {
    pollfd polled{.fd = process.pidfd(), .events = POLLIN};
    poll(&polled, 1, kLookMs);
    Follow(follower, observer, &check);
    if (stopped || observer.go_on()) continue;
    stopped = true;
    process.KillGroup();
  }
  if (stopped) return absl::CancelledError("the look at the rows was broken off");
  Follow(follower, observer, &check);
  if (check.end.outcome() != v1::WorkerEvent::End::OUTCOME_UNSPECIFIED) return check;
  return absl::InternalError(absl::StrCat(
      "the worker ended without a report: ",
      absl::StripAsciiWhitespace(FileTail(dir.path() / kWorkerLog, kLastWords).value_or(""))));
}

}  // namespace

absl::StatusOr<RowCheck> CheckRows(const std::string& worker, const StateDir& state_dir,
                                   const std::filesystem::path& dir, const Job& job,
                                   const RowCheckObserver& observer) {
  std::error_code error;
  std::filesystem::create_directories(dir.parent_path(), error);
  auto check = CheckIn(worker, state_dir, dir, job, observer);
  std::error_code not_empty;  // where other things are beside it
  std::filesystem::remove(dir.parent_path(), not_empty);
  return check;
}

}  // namespace ftd
