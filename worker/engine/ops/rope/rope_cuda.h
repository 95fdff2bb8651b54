// rope.h's rotation by CUDA kernels (device/kernel_call.h): float32, bfloat16 or float16, all of
// one dtype but for a table that may be float32.
#pragma once

#include <ATen/core/Tensor.h>

#include "worker/engine/ops/rope/rope.h"

namespace ftd::engine::cuda {

void ApplyRope(const at::Tensor& heads, const RopeTable& table, bool backward);
// Returns dqkv [T, (N+2K)·H] of dq [T, N, H], dk and dv [T, K, H], contiguous: ApplyRope backward
// of dq and dk, and dv.
at::Tensor RotateBack(const at::Tensor& dq, const at::Tensor& dk, const at::Tensor& dv,
                      const RopeTable& table);

}  // namespace ftd::engine::cuda
