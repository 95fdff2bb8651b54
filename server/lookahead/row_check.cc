#include "server/lookahead/row_check.h"

#include <poll.h>

#include <optional>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "server/attempts/attempt_files.h"
#include "server/attempts/attempt_start.h"
#include "server/attempts/worker_process.h"

namespace ftd {
namespace {

constexpr int kLookMs = 100;
constexpr size_t kLastWords = 2000;

// Returns the report of a worker that has ended.
absl::StatusOr<v1::WorkerEvent::End> ReportIn(const std::filesystem::path& dir) {
  for (const v1::WorkerEvent& event : ReadEvents(dir))
    if (event.has_end()) return event.end();
  return absl::InternalError(
      absl::StrCat("the worker ended without a report: ",
                   absl::StripAsciiWhitespace(FileTail(dir / kWorkerLog, kLastWords))));
}

absl::StatusOr<v1::WorkerEvent::End> CheckIn(const std::filesystem::path& path,
                                             const std::string& worker, const StateDir& state_dir,
                                             const Job& job, int64_t first_rows,
                                             const std::function<bool()>& go_on) {
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  FTD_ASSIGN_OR_RETURN(const ScratchDir dir, ScratchDir::Create(path));
  FTD_ASSIGN_OR_RETURN(Fd lock, PrepareRowCheck(state_dir, job, first_rows, dir.path()));
  FTD_ASSIGN_OR_RETURN(WorkerProcess process,
                       WorkerProcess::Spawn(worker, dir.path(), lock, /*hub_token=*/""));
  lock.Reset();
  bool stopped = false;
  while (!process.Reap().has_value()) {
    pollfd polled{.fd = process.pidfd(), .events = POLLIN};
    poll(&polled, 1, kLookMs);
    if (stopped || go_on()) continue;
    stopped = true;
    process.KillGroup();
  }
  if (stopped) return absl::CancelledError("the look at the rows was broken off");
  return ReportIn(dir.path());
}

}  // namespace

absl::StatusOr<v1::WorkerEvent::End> CheckRows(const std::string& worker, const StateDir& state_dir,
                                               const Job& job, int64_t first_rows,
                                               const std::function<bool()>& go_on) {
  const std::filesystem::path path = state_dir.RowCheck(job.id);
  auto end = CheckIn(path, worker, state_dir, job, first_rows, go_on);
  std::error_code not_empty;  // where the job has attempts by now
  std::filesystem::remove(path.parent_path(), not_empty);
  return end;
}

}  // namespace ftd
