// rope.h on the GPU. Where ATen's operators would round to the dtype, so does this.
#pragma once

#include <cstdint>

#include "worker/engine/device/launch.h"

namespace ftd::engine::cuda {

// Heads of one batch; strides in elements, within a head 1.
struct RopeHeads {
  void* data;  // [rows, heads, 2·half]
  int64_t rows, heads, half;
  int64_t row_stride, head_stride;
};

// Gradients of queries [rows, heads, 2·half], keys and values [rows, kv_heads, 2·half], contiguous.
struct QkvGradient {
  const void *dq, *dk, *dv;
  int64_t rows, heads, kv_heads, half;
};

// The launchers; all null where the build has no nvcc.
struct RopeKernels {
  // Rotates in place; cos and sin [rows, half] contiguous, of the heads' dtype.
  const char* (*apply)(const RopeHeads& heads, Type type, const void* cos, const void* sin,
                       bool backward, Stream stream);

  // Puts the gradients side by side into dqkv [rows, (heads + 2·kv_heads)·2·half], queries and keys
  // rotated back: the result of `apply` backward on a copy.
  const char* (*rotate_back)(const QkvGradient& gradient, Type type, const void* cos,
                             const void* sin, void* dqkv, Stream stream);
};

extern const RopeKernels kRopeKernels;

}  // namespace ftd::engine::cuda
