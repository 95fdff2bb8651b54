// The disk that a job needs for what it writes: a function of config.json and the spec.
#pragma once

#include <cstdint>

#include "lib/model/model_config.h"
#include "lib/spec/train_spec.h"

namespace ftd {

// Bytes of the tensors; the files beside them are small.
struct DiskPlan {
  int64_t checkpoint = 0;  // one
  int64_t kept = 0;        // checkpoints that are there at once, at most
  int64_t result = 0;      // the merged model included, where the spec asks for it
};

DiskPlan PlanDisk(const ModelConfig& config, const TrainSpec& spec);

}  // namespace ftd
