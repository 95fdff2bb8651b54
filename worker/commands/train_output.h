// The directory that a run in the foreground keeps everything in:
//
//   adapter_model.safetensors, …, ftd_run.json   the result; ftd_run.json comes last
//   checkpoint-N/                                complete checkpoints
//   .ftd/                                        request.json, steps-K.log of the K-th start, lock
#pragma once

#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ftd/v1/worker.pb.h"
#include "lib/base/file.h"
#include "worker/run/training_run.h"

namespace ftd {

class TrainOutput {
 public:
  // Begins a new run. The directory must be new or empty, or hold a run that was never saved, which
  // is then forgotten. ALREADY_EXISTS naming what is there and how to continue; FAILED_PRECONDITION
  // when another process trains in it.
  static absl::StatusOr<TrainOutput> Begin(const std::filesystem::path& dir,
                                           const v1::AttemptRequest& request);
  // Resumes a run from `checkpoint` ("latest", or a directory in `dir`), or from its beginning when
  // it was never saved. A result that is complete is published, so that the run is finished.
  // NOT_FOUND when `dir` holds no run.
  static absl::StatusOr<TrainOutput> Resume(const std::filesystem::path& dir,
                                            const std::string& checkpoint);

  // The request, with the checkpoint to resume from.
  const v1::AttemptRequest& request() const { return request_; }
  RunPlaces Places() const;
  bool finished() const;
  // The run went back because it diverged: the next Resume trains at half the learning rate.
  absl::Status RollBack() const;
  // Moves the complete result to its place.
  absl::Status Publish() const;

 private:
  TrainOutput(std::filesystem::path dir, Fd lock) : dir_(std::move(dir)), lock_(std::move(lock)) {}
  static absl::StatusOr<TrainOutput> Open(const std::filesystem::path& dir);
  absl::Status FindCheckpoint(const std::string& wanted);
  void FindStepLogs();

  std::filesystem::path dir_;
  Fd lock_;
  v1::AttemptRequest request_;
};

}  // namespace ftd
