// glu.h on the GPU. Where ATen's operators would round to the dtype, so do these.
#pragma once

#include <cstdint>

#include "lib/model/traits.h"
#include "worker/engine/device/launch.h"

namespace ftd::engine::cuda {

// The launchers; all null where the build has no nvcc.
struct GluKernels {
  // a [rows, width] of gate_up [rows, 2·width], contiguous.
  const char* (*forward)(Activation activation, const void* gate_up, Type type, int64_t rows,
                         int64_t width, void* a, Stream stream);

  // d_gate_up [rows, 2·width] of gate_up and da [rows, width], contiguous.
  const char* (*backward)(Activation activation, const void* gate_up, const void* da, Type type,
                          int64_t rows, int64_t width, void* d_gate_up, Stream stream);
};

extern const GluKernels kGluKernels;

}  // namespace ftd::engine::cuda
