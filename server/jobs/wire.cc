#include "server/jobs/wire.h"

#include <string>

#include "lib/base/utf8.h"
#include "lib/runlog/message_json.h"
#include "server/host/log.h"
#include "server/host/small_cache.h"

namespace ftd {

// The daemon's names are those of the wire's enum, so the map is by name and has no table to
// maintain.
v1::Job::State ToWire(JobState state) {
  v1::Job::State wire = v1::Job::STATE_UNSPECIFIED;
  v1::Job::State_Parse(std::string(JobStateName(state)), &wire);
  return wire;
}

JobState FromWire(v1::Job::State state) {
  return ParseJobState(v1::Job::State_Name(state)).value_or(JobState::kQueued);
}

// INTERNAL for a name that a later release stored.
v1::FailureReason FailureReasonFromName(const std::string& name) {
  if (name.empty()) return v1::FAILURE_REASON_UNSPECIFIED;
  v1::FailureReason reason;
  return v1::FailureReason_Parse(name, &reason) ? reason : v1::INTERNAL;
}

// A spec that a release without limits has stored, cut to what an answer can hold.
void ShortenSpec(v1::JobSpec* spec) {
  constexpr size_t kMaxTextBytes = 64 << 10;
  v1::Dataset& dataset = *spec->mutable_dataset();
  dataset.set_template_(Shortened(dataset.template_(), kMaxTextBytes));
  dataset.set_chat_template(Shortened(dataset.chat_template(), kMaxTextBytes));
  if (spec->ByteSizeLong() <= kMaxSpecBytes) return;
  dataset.clear_files();
  dataset.clear_columns();
  spec->mutable_lora()->clear_target_modules();
}

// Jobs are read again and again, and those of one campaign differ in nothing but their order.
std::shared_ptr<const v1::JobSpec> SpecOf(const Job& job) {
  // Never destroyed: threads may outlive main.
  static auto& cache = *new SmallCache<v1::JobSpec>(512, 16 << 10);
  if (auto known = cache.Find(job.spec_json)) return known;
  auto spec = std::make_shared<v1::JobSpec>();
  const absl::Status parsed = MessageFromJson(job.spec_json, UnknownFields::kIgnored, spec.get());
  if (!parsed.ok())
    LogError(About{.job = job.id}, "its stored spec cannot be read: ", parsed.message());
  if (spec->ByteSizeLong() > kMaxSpecBytes) ShortenSpec(spec.get());
  if (parsed.ok()) cache.Keep(job.spec_json, spec);
  return spec;
}

// Only what the store knows; server/requests/job_view.h adds what is in files.
v1::Job ToWire(const Job& job) {
  v1::Job wire;
  wire.set_id(job.id);
  wire.set_name(job.name);
  wire.set_state(ToWire(job.state));
  wire.set_failure_reason(FailureReasonFromName(job.failure_reason));
  wire.set_message(job.message);
  wire.set_hint(job.hint);
  *wire.mutable_spec() = *SpecOf(job);
  wire.set_priority(job.priority);
  wire.mutable_labels()->insert(job.labels.begin(), job.labels.end());
  wire.set_result_dir(job.result_dir);
  wire.set_owner(job.owner);
  wire.set_retry_of(job.retry_of);
  wire.mutable_after()->Assign(job.after.begin(), job.after.end());
  wire.set_start_from(job.start_from);
  wire.set_time_limit_seconds(job.time_limit_seconds);
  if (job.create_time != absl::Time()) *wire.mutable_create_time() = ToTimestamp(job.create_time);
  if (job.start_time) *wire.mutable_start_time() = ToTimestamp(*job.start_time);
  if (job.end_time) *wire.mutable_end_time() = ToTimestamp(*job.end_time);
  return wire;
}

// An attempt that is still active has no end, exit status or steps of its own yet.
v1::Attempt ToWire(const Attempt& attempt) {
  v1::Attempt wire;
  wire.set_number(attempt.number);
  v1::Attempt::State state = v1::Attempt::STATE_UNSPECIFIED;
  v1::Attempt::State_Parse(std::string(AttemptStateName(attempt.state)), &state);
  wire.set_state(state);
  wire.set_reason(attempt.reason);
  *wire.mutable_start_time() = ToTimestamp(attempt.start_time);
  if (attempt.end_time) *wire.mutable_end_time() = ToTimestamp(*attempt.end_time);
  if (attempt.exit_code.has_value()) wire.set_exit_code(*attempt.exit_code);
  if (attempt.signal.has_value()) wire.set_signal(*attempt.signal);
  wire.set_first_step(attempt.first_step);
  wire.set_last_step(attempt.last_step);
  wire.set_resumed_from(attempt.resumed_from);
  wire.set_pid(attempt.pid);
  return wire;
}

v1::Removal::Kind ToWire(RemovalKind kind) {
  v1::Removal::Kind wire = v1::Removal::KIND_UNSPECIFIED;
  v1::Removal::Kind_Parse(RemovalKindName(kind), &wire);
  return wire;
}

v1::Removal ToWire(const Removal& removal) {
  v1::Removal wire;
  wire.set_kind(ToWire(removal.kind));
  wire.set_size_bytes(removal.bytes);
  *wire.mutable_time() = ToTimestamp(removal.time);
  wire.set_owner(removal.owner);
  return wire;
}

v1::Drain ToWire(const QueueDrain& drain) {
  v1::Drain wire;
  wire.set_message(drain.message);
  wire.set_owner(drain.owner);
  *wire.mutable_time() = ToTimestamp(drain.time);
  return wire;
}

v1::WatchJobResponse::StateChange ToWire(const StateEvent& event) {
  v1::WatchJobResponse::StateChange wire;
  wire.set_sequence(event.sequence);
  if (event.from.has_value()) wire.set_from(ToWire(*event.from));
  wire.set_to(ToWire(event.to));
  *wire.mutable_time() = ToTimestamp(event.time);
  wire.set_message(event.message);
  wire.set_failure_reason(FailureReasonFromName(event.failure_reason));
  wire.set_hint(event.hint);
  wire.set_attempt(event.attempt);
  wire.set_result_dir(event.result_dir);
  return wire;
}

}  // namespace ftd
