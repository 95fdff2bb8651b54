// The part of a GPU's memory that a micro-batch may take, and the shapes from which step_memory.h
// computes how much it does take.
#pragma once

#include <cstdint>

#include "lib/spec/train_spec.h"
#include "worker/engine/model/model.h"
#include "worker/engine/training/step_memory.h"

namespace ftd::engine {

// Returns the bytes for a micro-batch's tensors, of those that are free once the model and the
// optimizer's state are there. The rest is for what is loaded on first use, such as kernels and
// cuBLAS' workspaces, and for gaps between blocks. At least one byte, since nothing is known to
// fit.
int64_t ActivationBudget(int64_t free_bytes);

// Returns a micro-batch's shape. `accumulated`: gradients of other micro-batches of the step are
// there already.
StepShape ShapeOf(const Model& model, const TrainSpec& spec, const FlatBatch& batch,
                  bool accumulated);

}  // namespace ftd::engine
