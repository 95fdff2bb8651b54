#include "server/requests/job_control.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "server/attempts/attempt_files.h"
#include "server/attempts/latest_result.h"
#include "server/jobs/job_states.h"
#include "server/requests/job_metadata.h"
#include "server/requests/stored_files.h"

namespace ftd {
namespace {

using enum JobState;

absl::Status StateConflict(const Job& job, const std::string& why) {
  return Error(Reason::kStateConflict,
               absl::StrCat("job ", job.DisplayName(), " is ", JobStateName(job.state), ": ", why));
}

// Returns what to tell somebody who asked for something that the job's state does not allow.
std::string Advice(const Job& job) {
  const std::string& name = job.DisplayName();
  switch (job.state) {
    case kQueued:
      return absl::StrCat("it has no worker; `ftctl hold ", name, "` keeps it back");
    case kHeld:
      return absl::StrCat("it does not run; `ftctl release ", name, "` lets it");
    case kPreparing:
    case kRunning:
      return absl::StrCat("it has a worker; `ftctl pause ", name, "` stops it with a checkpoint");
    case kPausing:
      return "wait until it is PAUSED";
    case kPaused:
      return absl::StrCat("it is paused; `ftctl resume ", name, "` continues it");
    case kCancelling:
      return "it is about to end";
    default:
      return "it has ended";
  }
}

// Calls `act` with the job as it is. A refusal of a job that another look shows in another state
// came too late and is tried again: the job moved between the two looks, which it cannot do
// forever. So each call is judged by one state, without a lock over the whole.
template <typename Act>
absl::StatusOr<Job> UntilItStands(JobStore& store, const std::string& name, const Act& act) {
  while (true) {
    FTD_ASSIGN_OR_RETURN(const Job job, store.Get(name));
    auto done = act(job);
    if (done.ok() || ReasonOf(done.status()) != Reason::kStateConflict) return done;
    FTD_ASSIGN_OR_RETURN(const Job now, store.Get(name));
    if (now.state == job.state && now.keep == job.keep) return done;
  }
}

absl::StatusOr<Job> MoveUnlessThere(JobStore& store, const std::string& name, JobState from,
                                    const Move& move) {
  return UntilItStands(store, name, [&](const Job& job) -> absl::StatusOr<Job> {
    // A repeated request succeeds, so a client that lost the answer may ask again.
    if (job.state == move.to) return job;
    if (job.state != from) return StateConflict(job, Advice(job));
    return store.MoveJob(job.id, {from}, move);
  });
}

// Changes a job that has a worker, unless it is too late: a job whose result is being published is
// given back as it is, and succeeds.
template <typename Change>
absl::StatusOr<Job> UnlessPublished(JobStore& store, const Job& job, const Change& change) {
  absl::StatusOr<Job> changed = change();
  if (changed.ok() || !store.IsResultClosed(job.id)) return changed;
  return store.Get(job.id);
}

absl::StatusOr<int32_t> NewestAttempt(JobStore& store, const Job& job) {
  FTD_ASSIGN_OR_RETURN(const auto attempts, store.Attempts(job.id));
  return attempts.empty() ? 0 : attempts.back().number;
}

// Returns whether there is a checkpoint, or a step that a living worker holds.
absl::StatusOr<bool> HasSomethingToKeep(const StateDir& state_dir, const Job& job,
                                        int32_t newest_attempt) {
  FTD_ASSIGN_OR_RETURN(const auto checkpoints, ListCheckpointDirs(state_dir, job.id));
  if (!checkpoints.empty() || !IsActive(job.state)) return !checkpoints.empty();
  FTD_ASSIGN_OR_RETURN(const auto range,
                       ReadStepRange(state_dir.AttemptDir(job.id, newest_attempt)));
  return range.has_value();
}

// Whoever downloads the result meanwhile, or after a kill, gets all of it or an error.
absl::Status RemoveResult(const std::filesystem::path& dir) {
  const auto trash = MoveToTrash(dir);
  if (absl::IsNotFound(trash.status())) return absl::OkStatus();
  FTD_RETURN_IF_ERROR(trash.status());
  return RemoveTree(*trash);
}

// A queued job keeps its state, so only its row changes. At the head, because only the export is
// left to do.
absl::StatusOr<Job> QueueToFinish(JobStore& store, const Job& job) {
  const std::string message = "ends early: the result is made of its newest checkpoint";
  if (job.state != kQueued) {
    return store.MoveJob(job.id, {kHeld, kPaused},
                         {.to = kQueued, .message = message, .at_head = true, .keep = true});
  }
  return store.Amend(job.id, {kQueued}, [&](Job& queued) {
    queued.message = message;
    queued.keep = queued.at_head = true;
    return absl::OkStatus();
  });
}

}  // namespace

absl::StatusOr<Job> CancelJob(JobStore& store, const std::string& name, const std::string& reason) {
  const std::string message =
      reason.empty() ? "cancelled by the user" : absl::StrCat("cancelled: ", reason);
  return UntilItStands(store, name, [&](const Job& job) -> absl::StatusOr<Job> {
    if (job.state == kCancelled || (job.state == kCancelling && !job.keep)) return job;
    if (IsFinal(job.state)) return StateConflict(job, Advice(job));
    // It was to end with a result; now without one. The runner passes that on to the worker.
    if (job.state == kCancelling) {
      return UnlessPublished(store, job, [&] {
        return store.Amend(job.id, {kCancelling}, [&](Job& ending) {
          ending.message = message;
          ending.keep = false;
          return absl::OkStatus();
        });
      });
    }
    if (!IsActive(job.state)) {
      return store.MoveJob(job.id, {kQueued, kHeld, kPaused},
                           {.to = kCancelled, .message = message, .keep = false});
    }
    // The event names the attempt that has to end.
    FTD_ASSIGN_OR_RETURN(const int32_t attempt, NewestAttempt(store, job));
    return UnlessPublished(store, job, [&] {
      return store.MoveJob(
          job.id, {kPreparing, kRunning, kPausing},
          {.to = kCancelling, .message = message, .attempt = attempt, .keep = false});
    });
  });
}

absl::StatusOr<Job> CancelJobAndKeep(JobStore& store, const StateDir& state_dir,
                                     const std::string& name, const std::string& reason) {
  return UntilItStands(store, name, [&](const Job& job) -> absl::StatusOr<Job> {
    const bool under_way = IsIn(job, {kQueued, kPreparing, kRunning, kCancelling, kSucceeded});
    if (job.keep && under_way) return job;
    if (job.state == kCancelling || IsFinal(job.state)) return StateConflict(job, Advice(job));
    FTD_ASSIGN_OR_RETURN(const int32_t attempt, NewestAttempt(store, job));
    // The job may still have taken a step when the worker sees the request; the refusal is about
    // now.
    FTD_ASSIGN_OR_RETURN(const bool something, HasSomethingToKeep(state_dir, job, attempt));
    if (!something) {
      return StateConflict(job,
                           absl::StrCat("it has no checkpoint yet, so there is nothing to keep; "
                                        "`ftctl cancel ",
                                        job.DisplayName(), "` ends it without a result"));
    }
    if (!IsActive(job.state)) return QueueToFinish(store, job);
    return UnlessPublished(store, job, [&] {
      return store.MoveJob(job.id, {kPreparing, kRunning, kPausing},
                           {.to = kCancelling,
                            .message = absl::StrCat("asked to end early with a result",
                                                    reason.empty() ? "" : ": ", reason),
                            .attempt = attempt,
                            .keep = true});
    });
  });
}

// A job that has no worker is held instead; the refusal says so.
absl::StatusOr<Job> PauseJob(JobStore& store, const std::string& name) {
  return UntilItStands(store, name, [&](const Job& job) -> absl::StatusOr<Job> {
    if (job.state == kPausing || job.state == kPaused) return job;
    if (job.state != kPreparing && job.state != kRunning) return StateConflict(job, Advice(job));
    FTD_ASSIGN_OR_RETURN(const int32_t attempt, NewestAttempt(store, job));
    return UnlessPublished(store, job, [&] {
      return store.MoveJob(job.id, {kPreparing, kRunning},
                           {.to = kPausing, .message = "asked to pause", .attempt = attempt});
    });
  });
}

absl::StatusOr<Job> ResumeJob(JobStore& store, const std::string& name) {
  return MoveUnlessThere(store, name, kPaused, {.to = kQueued, .message = "resumed by the user"});
}

absl::StatusOr<Job> HoldJob(JobStore& store, const std::string& name) {
  return MoveUnlessThere(store, name, kQueued, {.to = kHeld, .message = "held by the user"});
}

absl::StatusOr<Job> ReleaseJob(JobStore& store, const std::string& name) {
  return MoveUnlessThere(store, name, kHeld, {.to = kQueued, .message = "released by the user"});
}

absl::Status DeleteJob(JobStore& store, const StateDir& state_dir, const std::string& name,
                       bool results) {
  FTD_ASSIGN_OR_RETURN(const Job job, store.Get(name));
  if (!IsFinal(job.state)) {
    return StateConflict(job,
                         absl::StrCat("only a job that has ended can be removed; `ftctl cancel ",
                                      job.DisplayName(), "` ends it"));
  }
  FTD_ASSIGN_OR_RETURN(const auto waiting, store.WhoNeeds(job));
  if (waiting.has_value()) {
    return StateConflict(
        job, absl::StrCat("job ", *waiting, " comes after it and has not ended; `ftctl cancel ",
                          *waiting, "` ends it"));
  }
  // Files before the row: if this fails half-way, the job is still listed and can be removed again.
  FTD_RETURN_IF_ERROR(RemoveTree(state_dir.Attempts(job.id).parent_path()));
  if (results && !job.result_dir.empty()) {
    FTD_RETURN_IF_ERROR(RemoveResult(job.result_dir));
    DropBrokenLatest(state_dir);
  }
  return store.Delete(job.id);
}

absl::StatusOr<Job> UpdateJob(JobStore& store, const std::string& name, const JobChanges& changes) {
  FTD_ASSIGN_OR_RETURN(const Job found, store.Get(name));
  if (IsFinal(found.state)) return StateConflict(found, Advice(found));
  return store.Amend(
      found.id, {kQueued, kHeld, kPreparing, kRunning, kPausing, kPaused, kCancelling},
      // Within the store's transaction, so two clients' labels do not overwrite each
      // other.
      [&](Job& job) {
        for (const std::string& key : changes.remove_labels) job.labels.erase(key);
        for (const auto& [key, value] : changes.labels) job.labels[key] = value;
        job.priority = changes.priority.value_or(job.priority);
        job.time_limit_seconds = changes.time_limit_seconds.value_or(job.time_limit_seconds);
        std::vector<FieldViolation> bad;
        CheckTimeLimit(job.time_limit_seconds, bad);
        CheckPriority(job.priority, bad);
        CheckLabels(job.labels, bad);
        return bad.empty() ? absl::OkStatus() : FieldError(bad);
      });
}

}  // namespace ftd
