// The states of a job, and which may follow which.
//
// clang-format off
//   from                                      to            when
//   QUEUED                                    HELD          the user holds it
//   HELD                                      QUEUED        the user releases it, or cancels it with `keep`
//   QUEUED                                    PREPARING     the runner starts an attempt
//   QUEUED                                    FAILED        bad rows were found, a job before it did not succeed, or its time is used up
//   PREPARING                                 RUNNING       the attempt's first training step
//   RUNNING                                   SUCCEEDED     the result is complete
//   PREPARING, RUNNING                        QUEUED        a crash (with back-off), or the daemon's SIGTERM
//   PREPARING, RUNNING                        PAUSING       the user pauses it
//   PAUSING                                   PAUSED        the worker has ended
//   PAUSING                                   SUCCEEDED     the pause came when the result was complete
//   PAUSED                                    QUEUED        the user resumes it, or cancels it with `keep`
//   QUEUED, HELD, PAUSED                      CANCELLED     the user cancels it: at once
//   PREPARING, RUNNING, PAUSING               CANCELLING    the user cancels it: a worker has to end first
//   CANCELLING                                CANCELLED     the worker has ended
//   CANCELLING                                SUCCEEDED     with `keep`: the worker made a result
//   CANCELLING                                QUEUED        with `keep`: the worker ended without a result
//   PREPARING, RUNNING, PAUSING, CANCELLING   FAILED        an error that a retry cannot fix
// clang-format on
//
// SUCCEEDED, FAILED and CANCELLED are final. JobStore::ApplyMove is the one function that changes a
// state; JobStore's MoveJob, StartAttempt and EndAttempt call it inside their transactions.
#pragma once

#include <algorithm>
#include <initializer_list>

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
    {JobState::kCancelling, JobState::kFailed},    {JobState::kPausing, JobState::kSucceeded},
    {JobState::kCancelling, JobState::kQueued},    {JobState::kQueued, JobState::kFailed},
};

constexpr bool IsLegalMove(JobState from, JobState to) {
  for (const LegalMove& move : kLegalMoves) {
    if (move.from == from && move.to == to) return true;
  }
  return false;
}

inline bool IsIn(const Job& job, std::initializer_list<JobState> states) {
  return std::find(states.begin(), states.end(), job.state) != states.end();
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
