#include "server/attempts/attempt_files.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/manifest.h"
#include "lib/runlog/message_json.h"
#include "lib/runlog/record_log.h"
#include "server/host/log.h"
#include "server/jobs/wire.h"

namespace ftd {

namespace fs = std::filesystem;

// Reads the log from its start. A log that is missing or damaged has the events before that point.
std::vector<v1::WorkerEvent> ReadEvents(const fs::path& attempt_dir) {
  std::vector<v1::WorkerEvent> events;
  const auto batch = ReadRecords(attempt_dir / kEventsLog, 0);
  if (!batch.ok()) return events;
  for (const std::string& payload : batch->payloads) {
    v1::WorkerEvent event;
    if (event.ParseFromString(payload)) events.push_back(std::move(event));
  }
  return events;
}

// Steps of an attempt are consecutive, so the header's first step and the last row give the range.
std::optional<StepRange> ReadStepRange(const fs::path& attempt_dir) {
  const auto info = ReadStepLogInfo(attempt_dir / kStepsLog);
  auto last = ReadLastStep(attempt_dir / kStepsLog);
  if (!info.ok() || !last) return std::nullopt;
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
    for (v1::WorkerEvent& event : ReadEvents(dir)) {
      if (!event.has_evaluation()) continue;
      drop_from(event.evaluation().step());  // a stop had cut it off behind its step
      evaluations.push_back(std::move(*event.mutable_evaluation()));
    }
  }
  return evaluations;
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
    for (v1::WorkerEvent& event : ReadEvents(state_dir.AttemptDir(job_id, number)))
      if (event.has_data_report()) return std::move(*event.mutable_data_report());
  }
  v1::DataReport report;
  const auto json = ReadFile(state_dir.DataReport(job_id));
  if (json.ok() && MessageFromJson(*json, UnknownFields::kIgnored, &report).ok()) return report;
  return std::nullopt;
}

std::vector<v1::Checkpoint> ListCheckpointDirs(const StateDir& state_dir,
                                               const std::string& job_id) {
  std::vector<v1::Checkpoint> checkpoints;
  // attempts/N/checkpoint-STEP; a checkpoint that is still being written has another name.
  // Manifests are read but no bytes are hashed, which would take long for a large model.
  std::error_code error;
  for (const auto& attempt : fs::directory_iterator(state_dir.Attempts(job_id), error)) {
    int32_t number = 0;
    if (!absl::SimpleAtoi(attempt.path().filename().string(), &number)) continue;
    std::error_code inner;
    for (const auto& entry : fs::directory_iterator(attempt.path(), inner)) {
      if (CheckpointStep(entry.path()) < 0) continue;
      const auto manifest = ReadManifest(entry.path());
      if (!manifest.ok()) continue;
      v1::Checkpoint& checkpoint = checkpoints.emplace_back();
      checkpoint.set_step(CheckpointStep(entry.path()));
      checkpoint.set_path(entry.path());
      checkpoint.set_size_bytes(manifest->total_bytes);
      checkpoint.set_attempt(number);
      const auto written = fs::last_write_time(entry.path() / "MANIFEST.json", inner);
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
fs::path NewestGoodCheckpoint(const StateDir& state_dir, const std::string& job_id,
                              const std::function<void()>& progress) {
  auto checkpoints = ListCheckpointDirs(state_dir, job_id);
  std::reverse(checkpoints.begin(), checkpoints.end());
  for (const v1::Checkpoint& checkpoint : checkpoints) {
    const auto verified = VerifyDirectory(checkpoint.path(), progress);
    if (verified.ok()) return checkpoint.path();
    LogWarning(About{.job = job_id}, "checkpoint passed over: ", verified.status().message());
  }
  return {};
}

void RemoveOlderCheckpoints(const StateDir& state_dir, const std::string& job_id, int32_t attempt) {
  for (const v1::Checkpoint& checkpoint : ListCheckpointDirs(state_dir, job_id)) {
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
    if (const auto range = ReadStepRange(dir)) last = range->last.step();
  }
  return last;
}

// The first line is dropped if the cut may have gone through it.
std::string FileTail(const fs::path& path, size_t bytes) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return "";
  const auto size = static_cast<size_t>(file.tellg());
  std::string tail(std::min(size, bytes), '\0');
  file.seekg(static_cast<std::streamoff>(size - tail.size()));
  file.read(tail.data(), static_cast<std::streamsize>(tail.size()));
  tail.resize(static_cast<size_t>(file.gcount()));
  const size_t line = tail.find('\n');
  if (size > bytes && line != std::string::npos) tail.erase(0, line + 1);
  return tail;
}

}  // namespace ftd
