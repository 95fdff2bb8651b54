// rope.h on the GPU. Where ATen's operators would round to the dtype, so does this.
#pragma once

#include <cstdint>

#include "worker/engine/device/launch.h"

namespace ftd::engine::cuda {

// cos and sin [rows, half] contiguous, of the heads' dtype or float32. The first 2·half features of
// a head rotate.
struct RopeAngles {
  const void *cos, *sin;
  Type type;
  int64_t half;
  bool interleaved;  // pairs lie side by side, else `half` apart
};

// Heads of one batch; strides in elements, within a head 1.
struct RopeHeads {
  void* data;  // [rows, heads, head_dim]
  int64_t rows, heads;
  int64_t row_stride, head_stride;
};

// Gradients of queries [rows, heads, head_dim], keys and values [rows, kv_heads, head_dim],
// contiguous.
struct QkvGradient {
  const void *dq, *dk, *dv;
  int64_t rows, heads, kv_heads, head_dim;
};

// The launchers; all null where the build has no nvcc.
struct RopeKernels {
  // Rotates in place.
  const char* (*apply)(const RopeHeads& heads, Type type, const RopeAngles& angles, bool backward,
                       Stream stream);

  // Puts the gradients side by side into dqkv [rows, (heads + 2·kv_heads)·head_dim], queries and
  // keys rotated back: the result of `apply` backward on a copy.
  const char* (*rotate_back)(const QkvGradient& gradient, Type type, const RopeAngles& angles,
                             void* dqkv, Stream stream);
};

extern const RopeKernels kRopeKernels;

}  // namespace ftd::engine::cuda
