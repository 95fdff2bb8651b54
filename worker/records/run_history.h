// The measurements of a run so far, over all its attempts.
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
  std::vector<v1::GeneratedSample> samples;
};

// Returns the evaluation with the least loss, the first of equals; null when none has a number for
// it.
const v1::Evaluation* BestOf(const std::vector<v1::Evaluation>& evaluations);

// The evaluations that a checkpoint stands on: out of the log_history of its trainer_state.json.
// DATA_LOSS CHECKPOINT_CORRUPT.
absl::StatusOr<std::vector<v1::Evaluation>> ReadEvaluations(
    const std::filesystem::path& trainer_state_json);

}  // namespace ftd
