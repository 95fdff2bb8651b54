#include "server/streams/watch_reader.h"

#include <algorithm>
#include <limits>

#include "lib/base/error.h"
#include "lib/runlog/record_log.h"
#include "server/attempts/attempt_files.h"
#include "server/jobs/job_states.h"
#include "server/jobs/wire.h"
#include "server/requests/job_view.h"

namespace ftd {
namespace {

// Small: each watcher that is behind holds one of each.
constexpr size_t kEventBatch = 32;
constexpr int64_t kRowBatch = 64;
constexpr absl::Time kEndOfTime = absl::InfiniteFuture();

// A record that cannot be read has time 0, so it is taken, and left out, as soon as it is its turn.
absl::Time EventTime(const std::optional<v1::WorkerEvent>& event) {
  return event.has_value() ? ToTime(event->time()) : absl::Time();
}

}  // namespace

absl::StatusOr<WatchReader> WatchReader::Open(JobStore& store, const StateDir& state_dir,
                                              const std::string& name,
                                              const std::string& resume_token) {
  FTD_ASSIGN_OR_RETURN(const Job job, store.Get(name));
  if (!resume_token.empty()) {
    FTD_ASSIGN_OR_RETURN(const WatchPosition position, DecodeResumeToken(job.id, resume_token));
    return At(store, state_dir, job.id, position);
  }
  WatchReader reader(store, state_dir, job.id);
  // The snapshot and the history are of one moment when no change came between the two looks: a
  // change after the snapshot then always starts from the snapshot's state.
  v1::Job view;
  for (bool stable = false; !stable;) {
    // LoadHistory moves this back to the newest event, and so finds the state of this moment.
    reader.position_.sequence = std::numeric_limits<int64_t>::max();
    FTD_RETURN_IF_ERROR(reader.LoadHistory());
    FTD_ASSIGN_OR_RETURN(const Job current, store.Get(job.id));
    FTD_ASSIGN_OR_RETURN(view, ViewJob(store, state_dir, current));
    FTD_ASSIGN_OR_RETURN(const auto newer, store.Events(job.id, reader.position_.sequence, 1));
    stable = newer.empty();
  }
  *reader.snapshot_.emplace().mutable_snapshot() = std::move(view);
  return reader;
}

// Nothing but the position is kept between two readers: the stored events give back the rest.
absl::StatusOr<WatchReader> WatchReader::At(JobStore& store, const StateDir& state_dir,
                                            const std::string& job_id,
                                            const WatchPosition& position) {
  WatchReader reader(store, state_dir, job_id);
  reader.position_ = position;
  FTD_RETURN_IF_ERROR(reader.LoadHistory());
  return reader;
}

// Loads the state and the newest attempt as of the position. A position after the newest event is
// moved back to it.
absl::Status WatchReader::LoadHistory() {
  constexpr int64_t kBatch = 1000;
  int64_t seen = 0;
  while (true) {
    FTD_ASSIGN_OR_RETURN(const auto events, store_.Events(job_id_, seen, kBatch));
    for (const StateEvent& event : events) {
      // Later events are not part of the past that this watcher has seen.
      if (event.sequence > position_.sequence) return absl::OkStatus();
      seen = event.sequence;
      state_ = event.to;
      if (event.to == JobState::kPreparing) newest_attempt_ = event.attempt;
    }
    if (events.size() < kBatch) break;
  }
  position_.sequence = seen;
  return absl::OkStatus();
}

v1::WatchJobResponse WatchReader::Stamp(v1::WatchJobResponse message) const {
  message.set_resume_token(EncodeResumeToken(job_id_, position_));
  return message;
}

// Of two logs the earlier record goes first. When there is none in one of them, this must have been
// seen after what the other has was read: a record that is written later is later. So if one of the
// batches is used up, both logs are looked at again, and before them the store, since an event that
// ends the attempt is stored after the last line of its logs.
absl::Status WatchReader::Look() {
  if (looked_) return absl::OkStatus();
  FTD_ASSIGN_OR_RETURN(auto next, store_.Events(job_id_, position_.sequence, 1));
  next_change_.reset();
  if (!next.empty()) next_change_ = std::move(next.front());
  // Until the event that starts an attempt was given out, `newest_attempt_` is lower and its logs
  // wait.
  if (position_.attempt <= newest_attempt_) {
    FillEvents();
    FillSteps();
    FillEvents();
    FillSteps();
  }
  looked_ = true;
  return absl::OkStatus();
}

bool WatchReader::IsAttemptOver() const {
  return position_.attempt < newest_attempt_ || !IsActive(state_) ||
         (next_change_.has_value() && !IsActive(next_change_->to));
}

absl::StatusOr<std::optional<v1::WatchJobResponse>> WatchReader::Next() {
  if (snapshot_.has_value()) {
    v1::WatchJobResponse message = Stamp(*std::move(snapshot_));
    snapshot_.reset();
    return message;
  }
  while (true) {
    FTD_RETURN_IF_ERROR(Look());
    if (position_.attempt <= newest_attempt_) {
      const uint64_t offset_before = position_.events_offset;
      if (auto message = NextFromLogs()) return message;
      // A record was taken that says nothing to a watcher: the next one may.
      if (position_.events_offset != offset_before) continue;
    }
    // The logs of an attempt are given out whole before the next attempt's begin.
    if (position_.attempt < newest_attempt_) {
      EnterNextAttempt();
    } else if (next_change_.has_value()) {
      return TakeStateEvent();
    } else {
      looked_ = false;
      at_end_ = IsFinal(state_);
      return std::nullopt;
    }
  }
}

// The batches that were read ahead belong to the attempt before.
void WatchReader::EnterNextAttempt() {
  ++position_.attempt;
  position_.events_offset = 0;
  position_.rows = 0;
  events_.clear();
  steps_.clear();
  looked_ = false;
}

// PREPARING is the event that makes the next attempt's logs readable.
v1::WatchJobResponse WatchReader::TakeStateEvent() {
  const StateEvent event = *std::move(next_change_);
  looked_ = false;
  position_.sequence = event.sequence;
  state_ = event.to;
  if (event.to == JobState::kPreparing) {
    newest_attempt_ = event.attempt;
    if (position_.attempt < newest_attempt_) EnterNextAttempt();
  }
  v1::WatchJobResponse message;
  *message.mutable_state_change() = ToWire(event);
  return Stamp(std::move(message));
}

// Reads a batch of events ahead. An offset after each one is needed, because a token may be taken
// between any two of them.
void WatchReader::FillEvents() {
  if (!events_.empty()) return;
  const auto path = state_dir_.AttemptDir(job_id_, position_.attempt) / kEventsLog;
  const auto batch = ReadRecords(path, position_.events_offset, kEventBatch);
  if (!batch.ok()) return;
  uint64_t offset = position_.events_offset;
  for (const std::string& payload : batch->payloads) {
    // lib/runlog/record_log.h: size and CRC, 4 bytes each, before the payload.
    constexpr uint64_t kFrameBytes = 8;
    offset += kFrameBytes + payload.size();
    LoggedEvent& logged = events_.emplace_back();
    logged.next_offset = offset;
    logged.event = ParseEvent(payload);
  }
}

void WatchReader::FillSteps() {
  if (!steps_.empty()) return;
  const auto path = state_dir_.AttemptDir(job_id_, position_.attempt) / kStepsLog;
  const auto steps = ReadSteps(path, position_.rows, kRowBatch);
  if (steps.ok()) steps_.assign(steps->begin(), steps->end());
}

// Returns the earlier one of the next step and the next event; none if both have to wait, or if a
// record was taken that says nothing to a watcher.
std::optional<v1::WatchJobResponse> WatchReader::NextFromLogs() {
  const bool attempt_over = IsAttemptOver();
  // While the attempt lives, nothing that is later than the next change of state goes out before
  // it. Once it is over, all of its logs come before the event that ended it.
  const absl::Time limit =
      attempt_over || !next_change_.has_value() ? kEndOfTime : next_change_->time;
  const absl::Time event_time = events_.empty() ? kEndOfTime : EventTime(events_.front().event);
  const absl::Time row_time = steps_.empty() ? kEndOfTime : ToTime(steps_.front().time());
  // Steps come after the change to RUNNING, and after the worker's first event, which may report
  // that earlier steps were rolled back.
  const bool rows_open =
      attempt_over || (position_.events_offset > 0 && state_ != JobState::kPreparing);
  if (std::min(row_time, event_time) > limit) return std::nullopt;
  // With equal times the step comes first: the worker writes a step before any event about it.
  if (!events_.empty() && event_time < row_time) return TakeEvent();
  if (!steps_.empty() && rows_open) return TakeStep();
  return std::nullopt;
}

v1::WatchJobResponse WatchReader::TakeStep() {
  v1::WatchJobResponse message;
  *message.mutable_step() = std::move(steps_.front());
  steps_.pop_front();
  if (steps_.empty()) looked_ = false;
  ++position_.rows;
  return Stamp(std::move(message));
}

std::optional<v1::WatchJobResponse> WatchReader::TakeEvent() {
  const LoggedEvent logged = std::move(events_.front());
  events_.pop_front();
  if (events_.empty()) looked_ = false;
  position_.events_offset = logged.next_offset;
  if (!logged.event.has_value()) return std::nullopt;
  const v1::WorkerEvent& event = *logged.event;
  v1::WatchJobResponse message;
  if (event.has_progress()) {
    *message.mutable_progress() = event.progress();
  } else if (event.has_checkpoint()) {
    *message.mutable_checkpoint() = event.checkpoint();
  } else if (event.has_evaluation()) {
    *message.mutable_evaluation() = event.evaluation();
  } else if (event.has_sample()) {
    *message.mutable_sample() = event.sample();
  } else if (event.has_warning()) {
    message.set_warning(event.warning().message());
  } else if (event.has_started()) {
    // A roll-back is worth a message only if earlier attempts had recorded steps that this one
    // repeats.
    const int64_t kept = event.started().first_step() - 1;
    if (LastStepAfter(state_dir_, job_id_, position_.attempt - 1) <= kept) return std::nullopt;
    message.set_rolled_back_to_step(std::max<int64_t>(kept, 0));
  } else {
    // The end of the attempt: the change of state that follows reports it.
    return std::nullopt;
  }
  return Stamp(std::move(message));
}

}  // namespace ftd
