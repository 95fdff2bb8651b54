// The cross-entropy of a tile of logits and its gradient in place; loss.h's CrossEntropyByAten on
// the GPU, in the tile's own dtype.
#pragma once

#include <cstdint>

#include "lib/plan/work_sizes.h"
#include "worker/engine/device/launch.h"

namespace ftd::engine::cuda {

// The launchers; all null where the build has no nvcc.
struct LossKernels {
  // Turns logits [rows, vocabulary] into softmax − everywhere − at_target · one-hot(target),
  // rounded once, to `type`; the arithmetic is float32. targets [rows] are below `vocabulary`. Of
  // each row, row_sums [rows, 3] get −log p(target), the entropy, and whether the target is the
  // likeliest entry (1 or 0; of equals the first is). The order of summation depends on the rows'
  // addresses to 16 bytes and on nothing else: the same tile in an allocation of its own gives the
  // same bits.
  const char* (*tile)(void* logits, Type type, const int64_t* targets, int64_t rows,
                      int32_t vocabulary, float at_target, float everywhere, float* row_sums,
                      Stream stream);
};

extern const LossKernels kLossKernels;

}  // namespace ftd::engine::cuda
