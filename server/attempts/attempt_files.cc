#include "server/attempts/attempt_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/manifest.h"
#include "lib/base/utf8.h"
#include "lib/runlog/message_json.h"
#include "lib/runlog/message_text.h"
#include "lib/runlog/record_log.h"
#include "server/host/log.h"
#include "server/jobs/wire.h"

namespace ftd {

namespace fs = std::filesystem;

namespace {

// Only what is not there, or is damaged for good, may count as absent. Descriptors run out, and
// disks fail, for a moment.
bool IsAbsent(const absl::Status& status) {
  return absl::IsNotFound(status) || absl::IsDataLoss(status);
}

absl::StatusOr<std::vector<fs::path>> EntriesOf(const fs::path& dir) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (fs::directory_iterator it(dir, error), end; !error && it != end; it.increment(error))
    entries.push_back(it->path());
  if (!error || error == std::errc::no_such_file_or_directory ||
      error == std::errc::not_a_directory)
    return entries;
  return ErrnoError(error.value(), absl::StrCat("list ", dir.string()));
}

}  // namespace

std::optional<v1::WorkerEvent> ParseEvent(const std::string& record) {
  constexpr size_t kMaxTextBytes =
      4096;  // each is stored with the job and sent with each look at it
  constexpr size_t kMaxAnswerBytes = 16 << 10;  // a look has sixteen of them
  v1::WorkerEvent event;
  if (!ParseRepairingText(record, &event)) return std::nullopt;
  const auto shorten = [](std::string* text, size_t most) { *text = Shortened(*text, most); };
  if (event.has_warning()) shorten(event.mutable_warning()->mutable_message(), kMaxTextBytes);
  if (event.has_sample()) {
    shorten(event.mutable_sample()->mutable_prompt(), kMaxTextBytes);
    shorten(event.mutable_sample()->mutable_text(), kMaxAnswerBytes);
  }
  if (event.has_end()) {
    shorten(event.mutable_end()->mutable_message(), kMaxTextBytes);
    shorten(event.mutable_end()->mutable_hint(), kMaxTextBytes);
  }
  return event;
}

absl::StatusOr<std::vector<v1::WorkerEvent>> ReadEvents(const fs::path& attempt_dir) {
  FTD_ASSIGN_OR_RETURN(const RecordBatch batch, ReadRecords(attempt_dir / kEventsLog, 0));
  std::vector<v1::WorkerEvent> events;
  for (const std::string& payload : batch.payloads) {
    if (auto event = ParseEvent(payload)) events.push_back(*std::move(event));
  }
  return events;
}

// Steps of an attempt are consecutive, so the header's first step and the last row give the range.
absl::StatusOr<std::optional<StepRange>> ReadStepRange(const fs::path& attempt_dir) {
  const auto info = ReadStepLogInfo(attempt_dir / kStepsLog);
  if (IsAbsent(info.status())) return std::nullopt;
  FTD_RETURN_IF_ERROR(info.status());
  FTD_ASSIGN_OR_RETURN(auto last, ReadLastStep(attempt_dir / kStepsLog));
  if (!last.has_value()) return std::nullopt;
  return StepRange{.first = info->first_step, .last = *std::move(last)};
}

std::vector<v1::Evaluation> JobEvaluations(const StateDir& state_dir, const std::string& job_id,
                                           int32_t attempts) {
  std::vector<v1::Evaluation> evaluations;
  for (int32_t number = 1; number <= attempts; ++number) {
    const fs::path dir = state_dir.AttemptDir(job_id, number);
    const auto info = ReadStepLogInfo(dir / kStepsLog);
    // A later attempt repeats the steps after its checkpoint: its evaluations replace those of the
    // attempts before it.
    const auto drop_from = [&](int64_t step) {
      while (!evaluations.empty() && evaluations.back().step() >= step) evaluations.pop_back();
    };
    if (info.ok()) drop_from(info->first_step);
    auto events = ReadEvents(dir);
    if (!events.ok()) continue;
    for (v1::WorkerEvent& event : *events) {
      if (!event.has_evaluation()) continue;
      drop_from(event.evaluation().step());  // a stop had cut it off behind its step
      evaluations.push_back(std::move(*event.mutable_evaluation()));
    }
  }
  return evaluations;
}

std::vector<v1::GeneratedSample> JobLastSamples(const StateDir& state_dir,
                                                const std::string& job_id, int32_t attempts) {
  std::map<int64_t, std::map<int32_t, v1::GeneratedSample>> by_step;
  for (int32_t number = 1; number <= attempts; ++number) {
    const fs::path dir = state_dir.AttemptDir(job_id, number);
    // As for evaluations.
    if (const auto info = ReadStepLogInfo(dir / kStepsLog); info.ok())
      by_step.erase(by_step.lower_bound(info->first_step), by_step.end());
    auto events = ReadEvents(dir);
    if (!events.ok()) continue;
    for (v1::WorkerEvent& event : *events) {
      if (!event.has_sample()) continue;
      const v1::GeneratedSample& sample = event.sample();
      by_step.erase(by_step.upper_bound(sample.step()), by_step.end());
      by_step[sample.step()][sample.index()] = std::move(*event.mutable_sample());
    }
  }
  std::vector<v1::GeneratedSample> last;
  if (by_step.empty()) return last;
  for (auto& [index, sample] : by_step.rbegin()->second) last.push_back(std::move(sample));
  return last;
}

void KeepDataReport(const StateDir& state_dir, const std::string& job_id,
                    const v1::DataReport& report) {
  const fs::path path = state_dir.DataReport(job_id);
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  absl::Status written =
      error ? ErrnoError(error.value(), "create its directory") : absl::OkStatus();
  if (const auto json = MessageToJson(report); written.ok())
    written = json.ok() ? WriteFileAtomically(path, *json) : json.status();
  if (!written.ok())
    LogWarning(About{.job = job_id}, "what its rows are could not be kept: ", written.message());
}

std::optional<v1::DataReport> JobDataReport(const StateDir& state_dir, const std::string& job_id,
                                            int32_t attempts) {
  for (int32_t number = attempts; number > 0; --number) {
    auto events = ReadEvents(state_dir.AttemptDir(job_id, number));
    if (!events.ok()) continue;
    for (v1::WorkerEvent& event : *events)
      if (event.has_data_report()) return std::move(*event.mutable_data_report());
  }
  v1::DataReport report;
  const auto json = ReadFile(state_dir.DataReport(job_id));
  if (json.ok() && MessageFromJson(*json, UnknownFields::kIgnored, &report).ok()) return report;
  return std::nullopt;
}

// attempts/N/checkpoint-STEP; a checkpoint that is still being written has another name. Manifests
// are read but no bytes are hashed, which would take long for a large model.
absl::StatusOr<std::vector<v1::Checkpoint>> ListCheckpointDirs(const StateDir& state_dir,
                                                               const std::string& job_id) {
  std::vector<v1::Checkpoint> checkpoints;
  FTD_ASSIGN_OR_RETURN(const auto attempts, EntriesOf(state_dir.Attempts(job_id)));
  for (const fs::path& attempt : attempts) {
    int32_t number = 0;
    if (!absl::SimpleAtoi(attempt.filename().string(), &number)) continue;
    FTD_ASSIGN_OR_RETURN(const auto entries, EntriesOf(attempt));
    for (const fs::path& entry : entries) {
      if (CheckpointStep(entry) < 0) continue;
      const auto manifest = ReadManifest(entry);
      if (IsAbsent(manifest.status())) continue;
      FTD_RETURN_IF_ERROR(manifest.status());
      v1::Checkpoint& checkpoint = checkpoints.emplace_back();
      checkpoint.set_step(CheckpointStep(entry));
      checkpoint.set_path(entry);
      checkpoint.set_size_bytes(manifest->total_bytes);
      checkpoint.set_attempt(number);
      std::error_code gone;
      const auto written = fs::last_write_time(entry / "MANIFEST.json", gone);
      *checkpoint.mutable_create_time() =
          ToTimestamp(absl::FromChrono(std::chrono::file_clock::to_sys(written)));
    }
  }
  // Two attempts may have written the same step; the later one comes last and is preferred.
  std::sort(checkpoints.begin(), checkpoints.end(), [](const auto& a, const auto& b) {
    return std::make_pair(a.step(), a.attempt()) < std::make_pair(b.step(), b.attempt());
  });
  return checkpoints;
}

// Damaged ones stay where they are, for whoever wants to know why.
absl::StatusOr<fs::path> NewestGoodCheckpoint(const StateDir& state_dir, const std::string& job_id,
                                              Unreadable unreadable,
                                              const std::function<void()>& progress) {
  FTD_ASSIGN_OR_RETURN(auto checkpoints, ListCheckpointDirs(state_dir, job_id));
  std::reverse(checkpoints.begin(), checkpoints.end());
  for (const v1::Checkpoint& checkpoint : checkpoints) {
    const auto verified = VerifyDirectory(checkpoint.path(), progress);
    if (verified.ok()) return fs::path(checkpoint.path());
    if (!IsAbsent(verified.status()) && unreadable == Unreadable::kIsAnError)
      return verified.status();
    LogWarning(About{.job = job_id}, "checkpoint passed over: ", verified.status().message());
  }
  return fs::path();
}

void RemoveOlderCheckpoints(const StateDir& state_dir, const std::string& job_id, int32_t attempt) {
  const auto checkpoints = ListCheckpointDirs(state_dir, job_id);
  if (!checkpoints.ok())
    return LogWarning("cannot list checkpoints: ", checkpoints.status().message());
  for (const v1::Checkpoint& checkpoint : *checkpoints) {
    if (checkpoint.attempt() >= attempt) continue;
    std::error_code error;
    fs::remove_all(checkpoint.path(), error);
    if (error) LogWarning("cannot remove ", checkpoint.path(), ": ", error.message());
  }
}

// A checkpoint that was cut short may have the size of the model.
void RemoveUnfinished(const fs::path& attempt_dir) {
  std::error_code error;
  for (fs::directory_iterator it(attempt_dir, error), end; !error && it != end;
       it.increment(error)) {
    if (!absl::StrContains(it->path().filename().string(), kUnfinishedMark)) continue;
    std::error_code failed;
    fs::remove_all(it->path(), failed);
    if (failed) LogWarning("cannot remove ", it->path().string(), ": ", failed.message());
  }
}

int64_t LastStepAfter(const StateDir& state_dir, const std::string& job_id, int32_t number) {
  int64_t last = 0;
  for (int32_t attempt = 1; attempt <= number; ++attempt) {
    const fs::path dir = state_dir.AttemptDir(job_id, attempt);
    const auto info = ReadStepLogInfo(dir / kStepsLog);
    // An attempt that has not recorded a step has rolled the job back all the same.
    if (info.ok()) last = std::min(last, std::max<int64_t>(info->first_step - 1, 0));
    if (const auto range = ReadStepRange(dir); range.ok() && range->has_value())
      last = (*range)->last.step();
  }
  return last;
}

// The first line is dropped if the cut may have gone through it.
absl::StatusOr<std::string> FileTail(const fs::path& path, size_t bytes) {
  const auto file = OpenFile(path, O_RDONLY);
  if (IsAbsent(file.status())) return "";
  FTD_RETURN_IF_ERROR(file.status());
  const auto size = static_cast<size_t>(std::max<off_t>(0, lseek(file->get(), 0, SEEK_END)));
  std::string tail(std::min(size, bytes), '\0');
  const ssize_t read =
      pread(file->get(), tail.data(), tail.size(), static_cast<off_t>(size - tail.size()));
  if (read < 0) return ErrnoError(errno, absl::StrCat("read ", path.string()));
  tail.resize(static_cast<size_t>(read));
  const size_t line = tail.find('\n');
  if (size > bytes && line != std::string::npos) tail.erase(0, line + 1);
  return RepairUtf8(size > bytes ? FromFirstCodePoint(tail) : tail);
}

}  // namespace ftd
