#include "server/attempts/time_limit.h"

#include <sys/stat.h>

#include <algorithm>

#include "lib/base/error.h"
#include "server/attempts/attempt_files.h"
#include "server/attempts/attempt_verdict.h"

namespace ftd {

absl::Duration TimeLimitOf(const Job& job) {
  return job.time_limit_seconds > 0 && !job.keep ? absl::Seconds(job.time_limit_seconds)
                                                 : absl::InfiniteDuration();
}

absl::Duration TimeTaken(const std::vector<Attempt>& attempts) {
  absl::Duration taken;
  for (const Attempt& attempt : attempts) taken += attempt.ran;
  return taken;
}

// A worker writes its heartbeat into the step log.
absl::Duration LifeOf(const std::filesystem::path& attempt_dir, const Attempt& attempt) {
  absl::Duration life;
  for (const char* log : {kEventsLog, kStepsLog}) {
    struct stat found;
    if (stat((attempt_dir / log).c_str(), &found) == 0)
      life = std::max(life, absl::TimeFromTimespec(found.st_mtim) - attempt.start_time);
  }
  return life;
}

absl::Status EndForTime(JobStore& store, const StateDir& state_dir, const Job& job) {
  FTD_ASSIGN_OR_RETURN(const auto checkpoints, ListCheckpointDirs(state_dir, job.id));
  const int64_t step = checkpoints.empty() ? 0 : checkpoints.back().step();
  const Move move = TimeLimitMove(TimeLimitOf(job), job.DisplayName(), step);
  return store.MoveJob(job.id, {JobState::kQueued}, move).status();
}

}  // namespace ftd
