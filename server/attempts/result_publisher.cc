#include "server/attempts/result_publisher.h"

#include <system_error>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "server/attempts/attempt_files.h"

namespace ftd {

namespace fs = std::filesystem;

fs::path PublishedResult(const StateDir& state_dir, const Job& job) {
  return state_dir.Results() / job.DisplayName();
}

// A result may be in either place: a daemon that died after the rename has published it already.
bool HasResult(const StateDir& state_dir, const Job& job, const fs::path& attempt_dir) {
  std::error_code error;
  return fs::is_directory(attempt_dir / kResultDir, error) ||
         fs::is_directory(PublishedResult(state_dir, job), error);
}

absl::StatusOr<fs::path> PublishResult(const StateDir& state_dir, const Job& job,
                                       const fs::path& attempt_dir) {
  std::error_code error;
  const fs::path from = attempt_dir / kResultDir, to = PublishedResult(state_dir, job);
  // Renamed by a daemon that died before it stored SUCCEEDED.
  if (!fs::exists(from, error)) return to;
  if (fs::exists(to, error)) {
    return absl::AlreadyExistsError(
        absl::StrCat(to.string(), " exists already; the result stays in ", from.string()));
  }
  FTD_RETURN_IF_ERROR(
      Prefixed(RenameDurably(from, to), absl::StrCat("the result stays in ", from.string(), ": ")));
  return to;
}

Move PublishedMove(const StateDir& state_dir, const Job& job, Move success) {
  const auto place = PublishResult(state_dir, job, state_dir.AttemptDir(job.id, success.attempt));
  if (place.ok()) {
    success.result_dir = *place;
    return success;
  }
  // The training was good, so the result stays in the attempt's directory, where the user can take
  // it from.
  return {
      .to = JobState::kFailed,
      .message = std::string(place.status().message()),
      .failure_reason = ReasonOf(place.status()) == Reason::kDiskFull ? "DISK_FULL" : "INTERNAL",
      .hint = "correct the results directory; the result itself is complete",
      .attempt = success.attempt};
}

}  // namespace ftd
