#include "worker/commands/event_log.h"

#include <unistd.h>

#include <cstdio>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "lib/base/error.h"
#include "worker/records/sample_log.h"
#include "worker/records/version.h"
#include "worker/run/data_report.h"

namespace ftd {
namespace {

constexpr absl::Duration kProgressInterval = absl::Milliseconds(200);

// A line of worker.log: the time in UTC, and what happened.
void Say(const std::string& what) {
  std::fprintf(stderr, "%s %s\n",
               absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::Now(), absl::UTCTimeZone()).c_str(),
               what.c_str());
}

std::string LowerName(v1::Progress::Phase phase) {
  return absl::AsciiStrToLower(v1::Progress::Phase_Name(phase));
}

}  // namespace

absl::StatusOr<std::unique_ptr<EventLog>> EventLog::Create(const std::filesystem::path& path) {
  FTD_ASSIGN_OR_RETURN(RecordLogWriter writer, RecordLogWriter::Create(path));
  return std::unique_ptr<EventLog>(new EventLog(std::move(writer)));
}

// Appends an event with the present time. Requires: mutex_ is held.
void EventLog::Append(v1::WorkerEvent event, bool sync) {
  if (ended_) return;
  const int64_t nanos = absl::GetCurrentTimeNanos();
  event.mutable_time()->set_seconds(nanos / 1'000'000'000);
  event.mutable_time()->set_nanos(static_cast<int32_t>(nanos % 1'000'000'000));
  const absl::Status status = writer_.Append(event.SerializeAsString(), sync);
  // Without its log the worker cannot report anything; the daemon will judge by the files on disk.
  if (!status.ok()) {
    std::fprintf(stderr, "error: %s\n", std::string(status.message()).c_str());
    ::_exit(74);
  }
}

// Comes before all progress: it says where the attempt's steps begin.
void EventLog::Started(const v1::AttemptRequest& request, const TrainSpec& spec,
                       const std::string& device, int64_t first_step) {
  const std::lock_guard lock(mutex_);
  Say(absl::StrCat("attempt ", request.attempt(), " of ", request.job_id(), " begins at step ",
                   first_step, ": ft-worker ", kVersion, " (", kRevision, "), LibTorch ",
                   kTorchVersion, ", ", device));
  Say(absl::StrCat("model ", request.model_dir(), ", mode ", std::string(ModeName(spec.mode)),
                   ", dtype ", std::string(DtypeName(spec.dtype)), ", batch size ",
                   BatchSizeText(spec), " × ", spec.gradient_accumulation_steps, ", seq_length ",
                   spec.seq_length, ", seed ", spec.seed));
  for (const auto& file : request.dataset_files())
    Say(absl::StrCat("dataset ", file.name(), ": ", file.path()));
  if (!request.resume_from().empty()) Say(absl::StrCat("resumes from ", request.resume_from()));
  v1::WorkerEvent event;
  event.mutable_started()->set_pid(::getpid());
  event.mutable_started()->set_device(device);
  event.mutable_started()->set_first_step(first_step);
  Append(std::move(event), false);
}

void EventLog::Data(const v1::DataReport& report) {
  const std::lock_guard lock(mutex_);
  Say(DataLine(report));
  v1::WorkerEvent event;
  *event.mutable_data_report() = report;
  Append(std::move(event), false);
}

void EventLog::Outline(const RunOutline& outline) {
  const std::lock_guard lock(mutex_);
  steps_planned_ = outline.steps_planned;
  Say(absl::StrCat(outline.rows, " rows, steps ", outline.first_step, " to ", outline.steps_planned,
                   ", ", outline.trainable_parameters, " trainable of ", outline.total_parameters,
                   " parameters"));
}

void EventLog::Step(const v1::StepMetrics& /*step*/) {}

void EventLog::Progress(v1::Progress::Phase phase, const Amount& amount) {
  const std::lock_guard lock(mutex_);
  const Moment now = SteadyNow();
  // Every 200 ms at most, but each phase's beginning and end.
  const bool same_phase = last_progress_.phase() == phase;
  const bool soon = now - last_progress_time_ < kProgressInterval;
  if (same_phase && soon && amount.done != amount.total) return;
  if (!same_phase) Say(absl::StrCat("phase ", LowerName(phase)));
  last_progress_time_ = now;
  last_progress_.set_phase(phase);
  last_progress_.set_done(amount.done);
  last_progress_.set_total(amount.total);
  last_progress_.set_unit(amount.unit);
  last_progress_.set_rate(amount.rate);
  last_progress_.set_steps_planned(steps_planned_);
  if (amount.peak_memory > 0) last_progress_.set_peak_memory_bytes(amount.peak_memory);
  v1::WorkerEvent event;
  *event.mutable_progress() = last_progress_;
  Append(std::move(event), false);
}

void EventLog::Evaluation(const v1::Evaluation& evaluation) {
  const std::lock_guard lock(mutex_);
  Say(absl::StrFormat("step %d: evaluation loss %.6g over %d rows", evaluation.step(),
                      evaluation.loss(), evaluation.rows()));
  v1::WorkerEvent event;
  *event.mutable_evaluation() = evaluation;
  Append(std::move(event), false);
}

void EventLog::Sample(const v1::GeneratedSample& sample) {
  const std::lock_guard lock(mutex_);
  Say(SampleLine(sample));
  v1::WorkerEvent event;
  *event.mutable_sample() = sample;
  Append(std::move(event), false);
}

void EventLog::Checkpoint(const v1::Checkpoint& checkpoint) {
  const std::lock_guard lock(mutex_);
  Say(absl::StrCat("step ", checkpoint.step(), ": checkpoint of ", checkpoint.size_bytes(),
                   " bytes in ", checkpoint.path()));
  v1::WorkerEvent event;
  *event.mutable_checkpoint() = checkpoint;
  // Synced, because the daemon removes older checkpoints once it has seen this.
  Append(std::move(event), true);
}

// Also on stderr, which is worker.log.
void EventLog::Warning(const std::string& message) {
  const std::lock_guard lock(mutex_);
  Say(absl::StrCat("warning: ", message));
  v1::WorkerEvent event;
  event.mutable_warning()->set_message(message);
  Append(std::move(event), false);
}

// Only the first end counts: the control thread and the training thread may both have one.
bool EventLog::End(const v1::WorkerEvent::End& end) {
  const std::lock_guard lock(mutex_);
  if (ended_) return false;
  // Synced: after this record the process may end at any moment.
  v1::WorkerEvent event;
  *event.mutable_end() = end;
  Append(std::move(event), true);
  ended_ = true;
  const std::string outcome =
      absl::AsciiStrToLower(v1::WorkerEvent::End::Outcome_Name(end.outcome()));
  Say(end.outcome() == v1::WorkerEvent::End::FAILED
          ? absl::StrCat("error: ", end.message())
          : absl::StrCat(outcome, " after step ", end.last_step()));
  return true;
}

}  // namespace ftd
