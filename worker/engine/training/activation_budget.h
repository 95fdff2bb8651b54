// The part of a device's memory that a micro-batch may take, and the shape from which step_memory.h
// computes how much it does take.
#pragma once

#include <cstdint>

#include "lib/plan/step_shape.h"
#include "worker/engine/model/model.h"

namespace ftd::engine {

// Returns the bytes for a micro-batch's tensors, of those that are free on a GPU once the model and
// the optimizer's state are there. The rest is for what is loaded on first use, such as kernels and
// cuBLAS' workspaces, and for gaps between blocks. At least one byte, since nothing is known to
// fit.
int64_t ActivationBudget(int64_t free_bytes);

// Returns the same of a host's memory, of which `reserved` bytes are for others. The rest is for
// other processes and for gaps.
int64_t HostActivationBudget(int64_t available_bytes, int64_t reserved);

BatchShape ShapeOf(const FlatBatch& batch);

}  // namespace ftd::engine
