#include "server/attempts/attempt_start.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "ftd/v1/worker.pb.h"
#include "lib/base/contained_file.h"
#include "lib/base/error.h"
#include "lib/base/manifest.h"
#include "lib/base/user.h"
#include "lib/runlog/message_json.h"
#include "lib/runlog/step_log.h"
#include "server/attempts/attempt_files.h"
#include "server/jobs/wire.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

// Makes an empty directory, durably. One of this number can only be left by a preparation that
// failed, or by a daemon that died before it stored the attempt. Those above it, below `top`, may
// be as new: a checkpoint lasts no longer than the names of all directories that it lies in.
absl::Status RecreateDirectory(const fs::path& dir, const fs::path& top) {
  std::error_code error;
  fs::remove_all(dir, error);
  if (!error) fs::create_directories(dir, error);
  if (error) return ErrnoError(error.value(), absl::StrCat("create ", dir.string()));
  for (fs::path made = dir; made != top;) {
    made = made.parent_path();
    FTD_RETURN_IF_ERROR(SyncPath(made));
  }
  return absl::OkStatus();
}

// Takes the lock that the worker inherits. The daemon locks it before the worker exists, so a
// living worker holds it at every moment.
absl::StatusOr<Fd> LockForWorker(const fs::path& dir) {
  FTD_ASSIGN_OR_RETURN(Fd lock, OpenFile(dir / kWorkerLock, O_RDWR | O_CREAT, 0640));
  if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    return ErrnoError(errno, absl::StrCat("lock ", dir.string()));
  }
  return lock;
}

// Adds the files that the spec bound the job to. An upload was checked on arrival; a file that is
// read in place may have changed since, and the worker checks it.
void AddDataset(const StateDir& state_dir, v1::AttemptRequest& request) {
  const auto add = [&](const std::string& path, const std::string& name, const std::string& sha256,
                       bool verify) {
    v1::AttemptRequest::DatasetFile& file = *request.add_dataset_files();
    file.set_path(path);
    file.set_name(name);
    file.set_sha256(sha256);
    file.set_verify(verify);
  };
  const v1::Dataset& dataset = request.spec().dataset();
  if (const std::string& sha256 = dataset.upload_sha256(); !sha256.empty()) {
    add(state_dir.Uploads() / sha256, dataset.file_name(), sha256, /*verify=*/false);
  }
  for (const v1::Dataset::File& file : dataset.files()) {
    const bool in_place = !file.server_path().empty();
    add(in_place ? file.server_path() : (state_dir.Uploads() / file.sha256()).string(), file.name(),
        file.sha256(), in_place);
  }
  request.set_token_cache_dir(state_dir.TokenCache());
}

// The part of a request that no attempt changes.
v1::AttemptRequest RequestOf(const StateDir& state_dir, const Job& job) {
  v1::AttemptRequest request;
  request.set_job_id(job.id);
  *request.mutable_spec() = *SpecOf(job);
  request.set_model_dir(job.model_dir);
  AddDataset(state_dir, request);
  return request;
}

// Returns the local user who named the model's directory by its path. None for a directory that
// everybody may use: the hub's cache, one of the configuration, a published result.
std::optional<uid_t> ModelReader(const StateDir& state_dir, const Job& job,
                                 const v1::JobSpec& spec) {
  if (!fs::path(spec.model()).is_absolute() ||
      LiesUnder(job.model_dir, WithoutLinks(state_dir.Results())))
    return std::nullopt;
  const auto uid = UidNamed(job.owner);
  return uid == geteuid() ? std::nullopt : uid;
}

// Where the manifest cannot be read, the digest stays empty and the worker says that it is damaged.
void SetStartWeights(const StateDir& state_dir, const Job& job, v1::AttemptRequest& request) {
  if (!job.StartsFromCheckpoint()) return;
  const fs::path dir = state_dir.StartWeights(job.id);
  const std::string file = request.spec().mode() == v1::JobSpec::FULL ? "model.safetensors"
                                                                      : "adapter_model.safetensors";
  request.set_start_weights(dir / file);
  request.set_start_weights_sha256(DigestInManifest(dir, file).value_or(""));
}

// Writes request.json, which is complete and durable before a worker can read it.
absl::Status WriteRequest(const v1::AttemptRequest& request, const fs::path& dir) {
  const auto json = MessageToJson(request, JsonStyle::kIndented);
  if (!json.ok()) return Prefixed(json.status(), "request.json: ");
  return WriteFileAtomically(dir / kRequestFile, *json);
}

absl::Status WriteAttemptRequest(const StateDir& state_dir, const Job& job,
                                 const PreparedAttempt& prepared, int32_t rollbacks,
                                 const Device& device) {
  v1::AttemptRequest request = RequestOf(state_dir, job);
  request.set_attempt(prepared.attempt.number);
  request.set_resume_from(prepared.attempt.resumed_from);
  for (int32_t earlier = 1; earlier < prepared.attempt.number; ++earlier) {
    request.add_earlier_step_logs(state_dir.AttemptDir(job.id, earlier) / kStepsLog);
  }
  if (prepared.attempt.resumed_from.empty()) SetStartWeights(state_dir, job, request);
  request.set_device_lock(device.lock);
  request.set_peak_tflops(device.peak_tflops);
  request.set_host_memory_reserve_bytes(device.host_memory_reserve_bytes);
  request.set_device_memory_bytes(device.room().bytes);
  request.set_job_name(job.name);
  request.set_sources_json(job.sources_json);
  request.set_finish(job.keep);
  request.set_step_log_version(kStepLogVersion);
  request.set_rollbacks(rollbacks);
  if (const auto uid = ModelReader(state_dir, job, request.spec()))
    request.set_model_reader_uid(*uid);
  return WriteRequest(request, prepared.dir);
}

}  // namespace

// A first attempt has no checkpoint to look for. Hashing one takes long, so `progress` is passed
// on.
absl::StatusOr<PreparedAttempt> PrepareAttempt(const StateDir& state_dir, const Job& job,
                                               int32_t number, int32_t rollbacks,
                                               const Device& device, Unreadable unreadable,
                                               const std::function<void()>& progress) {
  PreparedAttempt prepared;
  prepared.dir = state_dir.AttemptDir(job.id, number);
  prepared.attempt.number = number;
  FTD_RETURN_IF_ERROR(RecreateDirectory(prepared.dir, state_dir.root() / "jobs"));
  if (number > 1) {
    FTD_ASSIGN_OR_RETURN(prepared.attempt.resumed_from,
                         NewestGoodCheckpoint(state_dir, job.id, unreadable, progress));
  }
  FTD_ASSIGN_OR_RETURN(prepared.lock, LockForWorker(prepared.dir));
  FTD_RETURN_IF_ERROR(WriteAttemptRequest(state_dir, job, prepared, rollbacks, device));
  return prepared;
}

absl::StatusOr<Fd> PrepareRowCheck(const StateDir& state_dir, const Job& job,
                                   const MemoryRoom& room, const fs::path& dir) {
  v1::AttemptRequest request = RequestOf(state_dir, job);
  request.mutable_row_check()->set_daemon_pid(getpid());
  request.set_device_memory_bytes(room.bytes);
  return PrepareSideWork(dir, request);
}

absl::StatusOr<Fd> PrepareExport(const StateDir& state_dir, const Job& job, const fs::path& dir,
                                 const v1::AttemptRequest::ResultExport& asked,
                                 const std::string& base) {
  v1::AttemptRequest request = RequestOf(state_dir, job);
  if (const auto uid = ModelReader(state_dir, job, request.spec()))
    request.set_model_reader_uid(*uid);
  request.set_model_dir(base);
  *request.mutable_result_export() = asked;
  request.mutable_result_export()->set_daemon_pid(getpid());
  return PrepareSideWork(dir, request);
}

absl::StatusOr<Fd> PrepareSideWork(const fs::path& dir, const v1::AttemptRequest& request) {
  FTD_ASSIGN_OR_RETURN(Fd lock, LockForWorker(dir));
  FTD_RETURN_IF_ERROR(WriteRequest(request, dir));
  return lock;
}

// Tries to take the lock. Closing the descriptor gives it back where that succeeded.
absl::StatusOr<bool> WorkerLives(const fs::path& attempt_dir) {
  const auto lock = OpenFile(attempt_dir / kWorkerLock, O_RDWR);
  if (absl::IsNotFound(lock.status())) return false;
  FTD_RETURN_IF_ERROR(lock.status());
  if (flock(lock->get(), LOCK_EX | LOCK_NB) == 0) return false;
  if (errno == EWOULDBLOCK) return true;
  return ErrnoError(errno, absl::StrCat("lock ", attempt_dir.string()));
}

}  // namespace ftd
