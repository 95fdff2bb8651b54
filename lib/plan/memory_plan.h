// The device's memory that a job needs, by part, before anything of it exists: a function of
// config.json, the spec and the shape of its largest micro-batch. Without torch.
#pragma once

#include <cstdint>

#include "lib/model/model_config.h"
#include "lib/plan/step_shape.h"
#include "lib/spec/train_spec.h"

namespace ftd {

// Bytes, each tensor rounded up to a block of the allocator.
struct MemoryPlan {
  int64_t weights = 0;   // in the dtype that they are multiplied in, or in NF4
  int64_t scratch = 0;   // QLoRA: room for the largest map, expanded
  int64_t adapters = 0;  // in the compute dtype
  int64_t masters = 0;   // float32 copies of what trains, where it is multiplied in another dtype
  int64_t gradients = 0;
  int64_t optimizer = 0;   // AdamW's moments
  int64_t step = 0;        // the most of a micro-batch's forward and backward pass
  int64_t recomputed = 0;  // of the layers, for that
  // What PyTorch's libraries keep beside the tensors, on a CPU.
  int64_t libraries = 0;

  // What is there from the first step to the last.
  int64_t kept() const { return weights + scratch + adapters + masters + gradients + optimizer; }
  int64_t total() const { return kept() + step; }
};

// Returns the plan for a GPU, or for a CPU, with the step's part at `recomputed` layers. `config`
// has been judged (judge.h).
MemoryPlan PlanMemory(const ModelConfig& config, const TrainSpec& spec, bool on_gpu,
                      const BatchShape& largest, int64_t recomputed);

}  // namespace ftd
