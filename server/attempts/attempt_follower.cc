#include "server/attempts/attempt_follower.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <cerrno>

#include "lib/base/error.h"
#include "lib/runlog/record_log.h"
#include "lib/runlog/step_summary.h"
#include "server/attempts/attempt_files.h"
#include "server/host/log.h"

namespace ftd {

absl::StatusOr<AttemptFollower> AttemptFollower::Open(std::filesystem::path attempt_dir) {
  Fd inotify(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!inotify.valid()) return ErrnoError(errno, "inotify_init1");
  // IN_CREATE and IN_MOVED_TO notice logs that do not exist yet, IN_MODIFY each record appended.
  if (inotify_add_watch(inotify.get(), attempt_dir.c_str(), IN_MODIFY | IN_CREATE | IN_MOVED_TO) <
      0) {
    return ErrnoError(errno, "watch " + attempt_dir.string());
  }
  return AttemptFollower(std::move(attempt_dir), std::move(inotify));
}

AttemptNews AttemptFollower::Read() {
  // The notices are drained before the logs are read. One that arrives while they are read makes
  // the descriptor readable again.
  alignas(inotify_event) char notices[4096];
  while (read(inotify_.get(), notices, sizeof(notices)) > 0) continue;

  AttemptNews news;
  // Events are read before steps. The worker writes a step before an event about it, so the caller
  // never has an event without its step.
  if (const auto batch = ReadRecords(attempt_dir_ / kEventsLog, events_offset_); batch.ok()) {
    events_offset_ = batch->next_offset;
    for (const std::string& payload : batch->payloads) {
      if (auto event = ParseEvent(payload)) {
        news.events.push_back(*std::move(event));
      } else {
        LogWarning(attempt_dir_.string(),
                   ": a record of events.log is not an event; it is left out");
      }
    }
  }
  if (auto steps = ReadSteps(attempt_dir_ / kStepsLog, next_row_); steps.ok()) {
    next_row_ += static_cast<int64_t>(steps->size());
    news.steps = *std::move(steps);
    // So that the first query after a restart need not read the log.
    if (next_row_ - summarised_rows_ >= StepSummary::kRowsOfPage) {
      summarised_rows_ = next_row_;
      StepSummary::Open(attempt_dir_ / kStepsLog).status().IgnoreError();
    }
  }
  return news;
}

uint64_t AttemptFollower::Heartbeat() const {
  const auto info = ReadStepLogInfo(attempt_dir_ / kStepsLog);
  return info.ok() ? info->heartbeat : 0;
}

}  // namespace ftd
