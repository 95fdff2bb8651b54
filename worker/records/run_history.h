// What a run has measured so far, over all its attempts.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "absl/status/statusor.h"
#include "ftd/v1/job.pb.h"

namespace ftd {

struct RunHistory {
  std::vector<v1::StepMetrics> steps;
  std::vector<v1::Evaluation> evaluations;
};

// Of those the one with the least loss, of equals the first; null when none has a number for it.
const v1::Evaluation* BestOf(const std::vector<v1::Evaluation>& evaluations);

// The evaluations that a checkpoint stands on: out of the log_history of its trainer_state.json.
// DATA_LOSS CHECKPOINT_CORRUPT.
absl::StatusOr<std::vector<v1::Evaluation>> ReadEvaluations(
    const std::filesystem::path& trainer_state_json);

}  // namespace ftd
