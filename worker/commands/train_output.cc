#include "worker/commands/train_output.h"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <cstdio>
#include <vector>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/manifest.h"
#include "lib/runlog/message_json.h"
#include "lib/runlog/step_log.h"
#include "worker/run/attempt_request.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

constexpr char kPrivate[] = ".ftd";
constexpr char kResult[] = ".ftd/result";   // complete once it is there, until it is published
constexpr char kRecord[] = "ftd_run.json";  // the last file of a result

absl::Status InUse(const fs::path& dir, const std::string& holds) {
  return Error(Reason::kPathInUse, absl::StrCat("output directory ", dir.string(), " ", holds));
}

// Returns the checkpoints in a directory, newest first.
std::vector<fs::path> CheckpointsIn(const fs::path& dir) {
  std::vector<fs::path> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(dir, error)) {
    if (CheckpointStep(entry.path()) >= 0) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end(), [](const fs::path& a, const fs::path& b) {
    return CheckpointStep(a) > CheckpointStep(b);
  });
  return found;
}

// Refuses a directory with anything in it that a new run could harm.
absl::Status CheckUnused(const fs::path& dir) {
  std::error_code error;
  if (fs::exists(dir / kRecord, error)) {
    return InUse(dir, "holds a finished run; name another --output_dir");
  }
  if (!CheckpointsIn(dir).empty() || fs::exists(dir / kResult / kRecord, error)) {
    return InUse(dir,
                 "holds an unfinished run; continue it with --resume latest, or name another "
                 "--output_dir");
  }
  if (fs::exists(dir / kPrivate, error) || !fs::exists(dir, error) || fs::is_empty(dir, error)) {
    return absl::OkStatus();
  }
  return InUse(dir, "is not empty; name a new one with --output_dir");
}

// --resume reads it: whatever the run depends on has to be in it.
absl::Status WriteRequest(const v1::AttemptRequest& request, const fs::path& path) {
  FTD_ASSIGN_OR_RETURN(const std::string json, MessageToJson(request));
  return WriteFileAtomically(path, json);
}

}  // namespace

// The lock keeps a second ft-train out for as long as this process lives.
absl::StatusOr<TrainOutput> TrainOutput::Open(const fs::path& dir) {
  FTD_ASSIGN_OR_RETURN(Fd lock, OpenFile(dir / kPrivate / "lock", O_RDWR | O_CREAT));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    return Error(Reason::kStateConflict,
                 absl::StrCat("another ft-train works in ", dir.string(), "; wait for its end"));
  }
  return TrainOutput(dir, std::move(lock));
}

// Checked, locked, and checked again, since another process may have come first.
absl::StatusOr<TrainOutput> TrainOutput::Begin(const fs::path& dir,
                                               const v1::AttemptRequest& request) {
  FTD_RETURN_IF_ERROR(CheckUnused(dir));
  std::error_code error;
  fs::create_directories(dir / kPrivate, error);
  if (error) return ErrnoError(error.value(), absl::StrCat("create ", dir.string()));
  FTD_ASSIGN_OR_RETURN(TrainOutput output, Open(dir));
  FTD_RETURN_IF_ERROR(CheckUnused(dir));  // now nobody else can fill it
  output.FindStepLogs();                  // of a run that was never saved
  for (const std::string& log : output.request_.earlier_step_logs()) fs::remove(log, error);
  output.request_ = request;
  output.request_.set_step_log_version(kStepLogVersion);
  output.request_.set_attempt(1);
  FTD_RETURN_IF_ERROR(WriteRequest(output.request_, dir / kPrivate / "request.json"));
  return output;
}

// The request of the first start is used again, with only the checkpoint and the logs replaced.
absl::StatusOr<TrainOutput> TrainOutput::Resume(const fs::path& dir,
                                                const std::string& checkpoint) {
  std::error_code error;
  if (!fs::exists(dir / kPrivate / "request.json", error)) {
    return absl::NotFoundError(
        absl::StrCat(dir.string(), " does not hold a run of ft-train to resume"));
  }
  FTD_ASSIGN_OR_RETURN(TrainOutput output, Open(dir));
  FTD_ASSIGN_OR_RETURN(output.request_, ReadAttemptRequest(dir / kPrivate / "request.json"));
  output.request_.set_step_log_version(kStepLogVersion);
  // The training was complete, and the process was killed while it published the result.
  if (fs::exists(dir / kResult / kRecord, error)) FTD_RETURN_IF_ERROR(output.Publish());
  if (output.finished()) return output;
  FTD_RETURN_IF_ERROR(output.FindCheckpoint(checkpoint));
  output.FindStepLogs();
  return output;
}

// "latest" passes over damaged checkpoints and removes them; a named one has to be the newest and
// whole, since newer ones would contradict the new steps.
absl::Status TrainOutput::FindCheckpoint(const std::string& wanted) {
  std::error_code error;
  for (const fs::path& checkpoint : CheckpointsIn(dir_)) {
    const bool is_wanted = wanted == "latest" || fs::equivalent(checkpoint, wanted, error);
    if (!is_wanted) {
      return Error(Reason::kStateConflict,
                   absl::StrCat(checkpoint.string(), " is newer than, or other than, ", wanted,
                                "; remove it to continue from there, or use --resume latest"));
    }
    const auto manifest = VerifyDirectory(checkpoint);
    if (manifest.ok()) {
      request_.set_resume_from(checkpoint.string());
      return absl::OkStatus();
    }
    if (wanted != "latest") return manifest.status();
    std::fprintf(stderr, "warning: %s is damaged and removed: %s\n", checkpoint.c_str(),
                 std::string(manifest.status().message()).c_str());
    fs::remove_all(checkpoint, error);
  }
  if (wanted == "latest") return absl::OkStatus();
  return Error(Reason::kJobNotFound, absl::StrCat("there is no checkpoint ", wanted));
}

// Each start has its own log, steps-1.log, steps-2.log and so on: a torn row ends a log for good.
void TrainOutput::FindStepLogs() {
  request_.clear_earlier_step_logs();
  std::error_code error;
  for (int number = 1;; ++number) {
    request_.set_attempt(number);
    const fs::path log = dir_ / kPrivate / absl::StrCat("steps-", number, ".log");
    if (!fs::exists(log, error)) return;
    // A process that was killed as it began may have left a log without a header.
    if (ReadStepLogInfo(log).ok()) request_.add_earlier_step_logs(log.string());
  }
}

// TensorBoard's files are the user's from the start, and not part of the result.
RunPlaces TrainOutput::Places() const {
  return {.dir = dir_,
          .step_log = dir_ / kPrivate / absl::StrCat("steps-", request_.attempt(), ".log"),
          .tensorboard = request_.log_dir().empty() ? dir_ / "logs" : fs::path(request_.log_dir()),
          .result = dir_ / kResult,
          .logs_in_result = false};
}

bool TrainOutput::finished() const {
  std::error_code error;
  return fs::exists(dir_ / kRecord, error);
}

// The request as it was written: without the checkpoint and the logs of this start.
absl::Status TrainOutput::RollBack() const {
  const fs::path path = dir_ / kPrivate / "request.json";
  FTD_ASSIGN_OR_RETURN(v1::AttemptRequest request, ReadAttemptRequest(path));
  request.set_rollbacks(request.rollbacks() + 1);
  return WriteRequest(request, path);
}

// Files are moved one by one, because the output directory is there already. ftd_run.json is the
// last: a directory that has it is complete, and one that does not is published again by --resume.
absl::Status TrainOutput::Publish() const {
  const fs::path result = dir_ / kResult;
  std::error_code error;
  std::vector<fs::path> names;
  for (const auto& entry : fs::directory_iterator(result, error))
    names.push_back(entry.path().filename());
  if (error) return ErrnoError(error.value(), absl::StrCat("read ", result.string()));
  for (const fs::path& name : names) {
    if (name != kRecord) FTD_RETURN_IF_ERROR(RenameDurably(result / name, dir_ / name));
  }
  FTD_RETURN_IF_ERROR(RenameDurably(result / kRecord, dir_ / kRecord));
  fs::remove_all(result, error);
  return absl::OkStatus();
}

}  // namespace ftd
