// Whether a job fits into a device's memory, and what would make it fit.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "lib/model/model_config.h"
#include "lib/plan/memory_plan.h"
#include "lib/spec/train_spec.h"

namespace ftd {

// Returns the plan of the least that a job can do with: a row of so many tokens at a time, with all
// layers recomputed, which is how a run ends up when memory runs out (worker/engine/train.h).
MemoryPlan LeastMemory(const ModelConfig& config, const TrainSpec& spec, bool on_gpu,
                       int64_t longest_row);

// A change of the spec, and what comes of it.
struct SpecChange {
  std::string flags;  // "--mode qlora"
  std::string price;  // what it does to the result
  int64_t bytes = 0;  // the least that the job then needs
  double work = 1;    // operations for a token of the longest row, as a multiple of before
};

// Returns at most three changes with which a job that needs more than `room` bytes fits into them,
// those that change the least first.
std::vector<SpecChange> ChangesThatFit(const ModelConfig& config, const TrainSpec& spec,
                                       bool on_gpu, int64_t longest_row, int64_t room);

// The memory that a job may have.
struct MemoryRoom {
  bool on_gpu = false;
  int64_t bytes = 0;  // 0: not known
};

// FAILED_PRECONDITION DOES_NOT_FIT, with what would fit, when a job whose longest row has so many
// tokens needs more. OK where the room is not known.
absl::Status CheckFits(const ModelConfig& config, const TrainSpec& spec, const MemoryRoom& room,
                       int64_t longest_row);

}  // namespace ftd
