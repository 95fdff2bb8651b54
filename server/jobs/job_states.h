// Which state a job may move to from which.
//
//   QUEUED <-> HELD
//   QUEUED -> PREPARING -> RUNNING -> SUCCEEDED
//   PREPARING, RUNNING -> QUEUED                  a crash (back-off), or the daemon's SIGTERM
//   PREPARING, RUNNING -> PAUSING -> PAUSED -> QUEUED
//   HELD, PAUSED -> QUEUED                        also by cancelling with `keep`
//   PAUSING -> SUCCEEDED                          the pause came when the result was complete
//   QUEUED, HELD, PAUSED -> CANCELLED             at once
//   PREPARING, RUNNING, PAUSING -> CANCELLING -> CANCELLED, or SUCCEEDED with `keep`
//   CANCELLING -> QUEUED                          with `keep`, when the worker is gone without a
//   result PREPARING, RUNNING, PAUSING, CANCELLING -> FAILED QUEUED -> FAILED a dependency failed
//
// SUCCEEDED, FAILED and CANCELLED are final. The one function that moves a job is JobStore::Move.
#pragma once

#include "server/jobs/job.h"

namespace ftd {

struct LegalMove {
  JobState from;
  JobState to;
};

inline constexpr LegalMove kLegalMoves[] = {
    {JobState::kQueued, JobState::kHeld},          {JobState::kHeld, JobState::kQueued},
    {JobState::kQueued, JobState::kPreparing},     {JobState::kPreparing, JobState::kRunning},
    {JobState::kRunning, JobState::kSucceeded},    {JobState::kPreparing, JobState::kQueued},
    {JobState::kRunning, JobState::kQueued},       {JobState::kPreparing, JobState::kPausing},
    {JobState::kRunning, JobState::kPausing},      {JobState::kPausing, JobState::kPaused},
    {JobState::kPaused, JobState::kQueued},        {JobState::kQueued, JobState::kCancelled},
    {JobState::kHeld, JobState::kCancelled},       {JobState::kPaused, JobState::kCancelled},
    {JobState::kPreparing, JobState::kCancelling}, {JobState::kRunning, JobState::kCancelling},
    {JobState::kPausing, JobState::kCancelling},   {JobState::kCancelling, JobState::kCancelled},
    {JobState::kCancelling, JobState::kSucceeded}, {JobState::kPreparing, JobState::kFailed},
    {JobState::kRunning, JobState::kFailed},       {JobState::kPausing, JobState::kFailed},
    {JobState::kCancelling, JobState::kFailed},    {JobState::kQueued, JobState::kFailed},
    {JobState::kPausing, JobState::kSucceeded},    {JobState::kCancelling, JobState::kQueued},
};

constexpr bool IsLegalMove(JobState from, JobState to) {
  for (const LegalMove& move : kLegalMoves) {
    if (move.from == from && move.to == to) return true;
  }
  return false;
}

// Nothing ever changes again.
constexpr bool IsFinal(JobState state) {
  return state == JobState::kSucceeded || state == JobState::kFailed ||
         state == JobState::kCancelled;
}

// An attempt belongs to the job at this moment.
constexpr bool IsActive(JobState state) {
  return state == JobState::kPreparing || state == JobState::kRunning ||
         state == JobState::kPausing || state == JobState::kCancelling;
}

}  // namespace ftd
