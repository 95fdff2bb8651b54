#include "server/attempts/time_limit.h"

#include <sys/stat.h>

#include <algorithm>
#include <optional>

#include "lib/base/error.h"
#include "server/attempts/attempt_files.h"
#include "server/attempts/attempt_verdict.h"
#include "server/attempts/worker_process.h"

namespace ftd {
namespace {

std::optional<absl::Time> TimeOf(const std::filesystem::path& file) {
  struct stat found;
  if (stat(file.c_str(), &found) != 0) return std::nullopt;
  return absl::TimeFromTimespec(found.st_mtim);
}

}  // namespace

absl::Duration TimeLimitOf(const Job& job) {
  return job.time_limit_seconds > 0 && !job.keep ? absl::Seconds(job.time_limit_seconds)
                                                 : absl::InfiniteDuration();
}

absl::Duration TimeTaken(const std::vector<Attempt>& attempts) {
  absl::Duration taken;
  for (const Attempt& attempt : attempts) taken += attempt.ran;
  return taken;
}

// A worker writes its heartbeat into the step log. Files have the kernel's times, but the clock may
// have been set between them: it cannot have lived longer than since its start.
absl::Duration LifeOf(const std::filesystem::path& attempt_dir, const Attempt& attempt) {
  const auto begun = TimeOf(attempt_dir / kRequestFile);
  absl::Duration life;
  for (const char* log : {kEventsLog, kStepsLog}) {
    const auto last = TimeOf(attempt_dir / log);
    if (begun.has_value() && last.has_value()) life = std::max(life, *last - *begun);
  }
  const ProcessIdentity worker{attempt.pid, attempt.pid_start, attempt.boot_id};
  const bool known = worker.pid != 0 && worker.boot_id == BootId();
  return known ? std::min(life, AgeOf(worker)) : life;
}

absl::Status EndForTime(JobStore& store, const StateDir& state_dir, const Job& job) {
  FTD_ASSIGN_OR_RETURN(const auto checkpoints, ListCheckpointDirs(state_dir, job.id));
  const int64_t step = checkpoints.empty() ? 0 : checkpoints.back().step();
  const Move move = TimeLimitMove(TimeLimitOf(job), job.DisplayName(), step);
  return store.MoveJob(job.id, {JobState::kQueued}, move).status();
}

}  // namespace ftd
