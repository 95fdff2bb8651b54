// softcap.h on the GPU. Where ATen's operators would round to the dtype, so do these.
#pragma once

#include <cstdint>

#include "worker/engine/device/launch.h"

namespace ftd::engine::cuda {

// The launchers; all null where the build has no nvcc.
struct SoftcapKernels {
  // z [count] ← softcap · tanh(z / softcap).
  const char* (*forward)(void* z, Type type, int64_t count, float softcap, Stream stream);

  // grad [count] ← grad · (1 − (capped / softcap)²).
  const char* (*backward)(void* grad, const void* capped, Type type, int64_t count, float softcap,
                          Stream stream);
};

extern const SoftcapKernels kSoftcapKernels;

}  // namespace ftd::engine::cuda
