// checkpoint-N directories of an attempt.
#pragma once

#include <filesystem>
#include <string>

#include "absl/status/statusor.h"
#include "ftd/v1/job.pb.h"
#include "worker/engine/train.h"

namespace ftd {

// Writes `attempt_dir`/checkpoint-N for the trainer's current step, sealed with a manifest
// (artifacts/manifest.h), with `trainer_state_json` beside the state. A leftover of an unfinished
// one is replaced.
absl::StatusOr<v1::Checkpoint> WriteCheckpoint(const engine::Trainer& trainer,
                                               const std::filesystem::path& attempt_dir,
                                               const std::string& spec_hash,
                                               const std::string& trainer_state_json);

// Removes the oldest checkpoints of the attempt until `keep` are left.
void PruneCheckpoints(const std::filesystem::path& attempt_dir, int keep);

}  // namespace ftd
