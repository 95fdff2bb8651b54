// swiglu.h on the GPU. Where ATen's operators would round to the dtype, so do these.
#pragma once

#include <cstdint>

#include "worker/engine/device/launch.h"

namespace ftd::engine::cuda {

// The launchers; all null where the build has no nvcc.
struct SwigluKernels {
  // a [rows, width] of gate_up [rows, 2·width], contiguous.
  const char* (*forward)(const void* gate_up, Type type, int64_t rows, int64_t width, void* a,
                         Stream stream);

  // d_gate_up [rows, 2·width] of gate_up and da [rows, width], contiguous.
  const char* (*backward)(const void* gate_up, const void* da, Type type, int64_t rows,
                          int64_t width, void* d_gate_up, Stream stream);
};

extern const SwigluKernels kSwigluKernels;

}  // namespace ftd::engine::cuda
