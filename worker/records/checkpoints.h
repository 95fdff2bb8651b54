// checkpoint-N directories of a run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ftd/v1/job.pb.h"
#include "worker/engine/train.h"

namespace ftd {

// What a checkpoint has beside the trainer's state; the last two unless they are empty.
struct CheckpointRecords {
  std::string trainer_state_json, samples_jsonl;
  std::string weights_digest;  // of an adapter's base (lib/model/weights_digest.h)
};

// Writes `run_dir`/checkpoint-N for the trainer's current step, sealed with a manifest
// (lib/base/manifest.h). A leftover of an unfinished one is replaced.
absl::StatusOr<v1::Checkpoint> WriteCheckpoint(const engine::Trainer& trainer,
                                               const std::filesystem::path& run_dir,
                                               const std::string& spec_hash,
                                               const CheckpointRecords& records);

// Returns whether a checkpoint belongs to a model with that digest: an adapter continues on the
// weights that it began with. FAILED_PRECONDITION MODEL_CORRUPT.
absl::Status CheckBaseWeights(const std::filesystem::path& checkpoint, const std::string& model_dir,
                              const std::string& weights_digest);

// Makes another attempt's checkpoint one of `run_dir` as well, by links where the file system has
// them, so that it outlasts that attempt.
absl::Status AdoptCheckpoint(const std::filesystem::path& checkpoint,
                             const std::filesystem::path& run_dir);

// Removes the oldest checkpoints of the run until `keep` are left, but never that of
// `also_keep_step` (0: none).
void PruneCheckpoints(const std::filesystem::path& run_dir, int keep, int64_t also_keep_step);

// Removes the checkpoints of steps after `step`.
void RemoveCheckpointsAfter(const std::filesystem::path& run_dir, int64_t step);

}  // namespace ftd
