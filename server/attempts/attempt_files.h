// The content of an attempt's directory: its events, its steps, its checkpoints. Stateless reads,
// also of a directory that a living worker writes to.
//
// What is missing or damaged is left out. What cannot be read now, for want of a descriptor or
// because the disk fails, is an error: nothing may be concluded from it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ftd/v1/worker.pb.h"
#include "lib/runlog/step_log.h"
#include "server/host/state_dir.h"

namespace ftd {

// Names in an attempt's directory.
inline constexpr char kEventsLog[] = "events.log";
inline constexpr char kStepsLog[] = "steps.log";
inline constexpr char kWorkerLog[] = "worker.log";
inline constexpr char kWorkerLock[] = "worker.lock";
inline constexpr char kRequestFile[] = "request.json";
inline constexpr char kResultDir[] = "result";
inline constexpr char kPublishingMark[] = "publishing";

// Returns the event that a record of the log holds, with its texts made UTF-8 and cut to a
// reasonable length: they come from another program. Nullopt: the record is not an event.
std::optional<v1::WorkerEvent> ParseEvent(const std::string& record);

// All events so far; a record that is not a WorkerEvent is left out.
absl::StatusOr<std::vector<v1::WorkerEvent>> ReadEvents(const std::filesystem::path& attempt_dir);

// The steps that an attempt recorded; nullopt: none.
struct StepRange {
  int64_t first = 0;
  v1::StepMetrics last;
};
absl::StatusOr<std::optional<StepRange>> ReadStepRange(const std::filesystem::path& attempt_dir);

// A job's evaluations in the order of their steps; where an attempt repeated steps, its own count.
// This and the next are for people to see, and leave out what cannot be read.
std::vector<v1::Evaluation> JobEvaluations(const StateDir& state_dir, const std::string& job_id,
                                           int32_t attempts);

// What a job's model last answered to its sample_prompts, in their order. It leaves out what cannot
// be read too.
std::vector<v1::GeneratedSample> JobLastSamples(const StateDir& state_dir,
                                                const std::string& job_id, int32_t attempts);

// Keeps what a job's rows are until its first attempt says so; a failure is logged, and the report
// then missing.
void KeepDataReport(const StateDir& state_dir, const std::string& job_id,
                    const v1::DataReport& report);
// What the newest of `attempts` attempts that says so reported of the rows, or what was kept.
std::optional<v1::DataReport> JobDataReport(const StateDir& state_dir, const std::string& job_id,
                                            int32_t attempts);

// Complete checkpoints of a job over all its attempts, by step, then attempt. Only manifests are
// read.
absl::StatusOr<std::vector<v1::Checkpoint>> ListCheckpointDirs(const StateDir& state_dir,
                                                               const std::string& job_id);

// A checkpoint that cannot be read: an error, or passed over as a damaged one.
enum class Unreadable { kIsAnError, kIsPassedOver };
// The newest one whose bytes agree with its manifest; empty when there is none. `progress` is
// called after each MiB read.
absl::StatusOr<std::filesystem::path> NewestGoodCheckpoint(const StateDir& state_dir,
                                                           const std::string& job_id,
                                                           Unreadable unreadable,
                                                           const std::function<void()>& progress);

// Once an attempt has a checkpoint of its own, those of the attempts before it are of no more use.
void RemoveOlderCheckpoints(const StateDir& state_dir, const std::string& job_id, int32_t attempt);

// Removes what a worker that died had not finished. Only for an attempt whose worker is gone.
void RemoveUnfinished(const std::filesystem::path& attempt_dir);

// The greatest step that counts at the end of attempt `number`: where an attempt repeated steps,
// its own count.
int64_t LastStepAfter(const StateDir& state_dir, const std::string& job_id, int32_t number);

// The last `bytes` of a file, cut at a line's start where there is one, and at a character's, as
// valid UTF-8; empty when it is missing.
absl::StatusOr<std::string> FileTail(const std::filesystem::path& path, size_t bytes);

}  // namespace ftd
