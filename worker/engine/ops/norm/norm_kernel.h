// norm.h on the GPU, one block a row. Where ATen's operators would round to the dtype, so do these;
// the order of summation is fixed.
#pragma once

#include <cstdint>

#include "lib/model/traits.h"
#include "lib/plan/work_sizes.h"
#include "worker/engine/device/launch.h"

namespace ftd::engine::cuda {

// The launchers; all null where the build has no nvcc.
struct NormKernels {
  // y [rows, width] and rstd [rows] of x [rows, width] and w [width].
  const char* (*rms_forward)(const void* x, const void* w, NormKind kind, Type type, int64_t rows,
                             int64_t width, float eps, float* rstd, void* y, Stream stream);

  // The same y, from rstd.
  const char* (*rms_recompute)(const void* x, const void* w, NormKind kind, Type type, int64_t rows,
                               int64_t width, const float* rstd, void* y, Stream stream);

  // dx [rows, width], plus `residual` [rows, width] unless that is nullptr.
  const char* (*rms_backward)(const void* x, const void* w, NormKind kind, const float* rstd,
                              const void* dy, const void* residual, Type type, int64_t rows,
                              int64_t width, void* dx, Stream stream);

  // w_grad [width], of `grad_type`, += Σ dy · x · rstd over the rows. Room for the first sums:
  // partial [⌈rows / kWeightGradRows⌉, width].
  const char* (*add_rms_weight_grad)(const void* x, const float* rstd, const void* dy, Type type,
                                     int64_t rows, int64_t width, float* partial, void* w_grad,
                                     Type grad_type, Stream stream);
};

extern const NormKernels kNormKernels;

}  // namespace ftd::engine::cuda
