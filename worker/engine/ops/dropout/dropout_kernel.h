// dropout.h on the GPU: the mask is computed where x is read, four elements to a random number's
// counter.
#pragma once

#include <cstdint>

#include "worker/engine/device/launch.h"
#include "worker/engine/ops/dropout/dropout_mask.h"

namespace ftd::engine::cuda {

// The launchers; all null where the build has no nvcc.
struct DropoutKernels {
  // y [count] of x [count], contiguous.
  const char* (*dropped)(const void* x, Type type, int64_t count, const DropoutMask& mask, void* y,
                         Stream stream);

  // sum [count] += what `dropped` makes of x [count], contiguous.
  const char* (*add_dropped)(void* sum, const void* x, Type type, int64_t count,
                             const DropoutMask& mask, Stream stream);
};

extern const DropoutKernels kDropoutKernels;

}  // namespace ftd::engine::cuda
