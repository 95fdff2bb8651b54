#include "server/attempts/attempt_evidence.h"

#include <algorithm>
#include <filesystem>

#include "lib/base/error.h"
#include "server/attempts/attempt_files.h"
#include "server/attempts/result_publisher.h"

namespace ftd {
namespace {

constexpr size_t kLogTailBytes = 2000;

// Returns the greatest step that an attempt before this one recorded.
absl::StatusOr<int64_t> GreatestStepBefore(JobStore& store, const Job& job,
                                           const Attempt& attempt) {
  FTD_ASSIGN_OR_RETURN(const auto attempts, store.Attempts(job.id));
  int64_t greatest = 0;
  for (const Attempt& earlier : attempts) {
    if (earlier.number < attempt.number) greatest = std::max(greatest, earlier.last_step);
  }
  return greatest;
}

}  // namespace

absl::StatusOr<AttemptEvidence> GatherEvidence(JobStore& store, const StateDir& state_dir,
                                               const Job& job, Attempt& attempt) {
  const std::filesystem::path dir = state_dir.AttemptDir(job.id, attempt.number);
  AttemptEvidence evidence{.attempt = attempt.number};
  // Read again: a user may have paused or cancelled the job since the caller read it.
  FTD_ASSIGN_OR_RETURN(const Job current, store.Get(job.id));
  evidence.state = current.state;
  evidence.keep = current.keep;
  evidence.crashes = current.crashes;
  FTD_ASSIGN_OR_RETURN(const auto events, ReadEvents(dir));
  // A daemon that died between storing the attempt and spawning its worker left neither a pid nor
  // an event.
  evidence.never_started = attempt.pid == 0 && events.empty();
  for (const v1::WorkerEvent& event : events) {
    if (event.has_end()) evidence.end = event.end();
    evidence.made_progress |= event.has_checkpoint();
  }
  FTD_ASSIGN_OR_RETURN(const auto range, ReadStepRange(dir));
  if (range.has_value()) {
    attempt.first_step = range->first;
    attempt.last_step = range->last.step();
  }
  // Steps that only repeat an earlier attempt's are not progress, or a job that crashes at the same
  // step each time would be tried forever. A checkpoint always is.
  FTD_ASSIGN_OR_RETURN(const int64_t greatest, GreatestStepBefore(store, job, attempt));
  evidence.made_progress |= attempt.last_step > greatest;
  FTD_ASSIGN_OR_RETURN(const auto checkpoints, ListCheckpointDirs(state_dir, job.id));
  if (!checkpoints.empty()) evidence.resume_step = checkpoints.back().step();
  FTD_ASSIGN_OR_RETURN(evidence.result, FindResult(state_dir, job, dir));
  FTD_ASSIGN_OR_RETURN(evidence.log_tail, FileTail(dir / kWorkerLog, kLogTailBytes));
  return evidence;
}

}  // namespace ftd
