// The memory-bound steps of a layer as single passes over float32 data on the CPU. Each has an ATen
// twin in the file that calls it, which serves the other dtypes and devices and is its oracle in
// the tests.
//
// Rows are shared out among threads whole, so results do not depend on the number of threads.
#pragma once

#include <ATen/core/Tensor.h>

namespace ftd::engine::cpu {

// norm.h's operations: x, dy [T, D] contiguous float32, w [D], rstd [T, 1].
at::Tensor RmsNormForward(const at::Tensor& x, const at::Tensor& w, double eps, at::Tensor* rstd);
at::Tensor RmsNormAgain(const at::Tensor& x, const at::Tensor& w, const at::Tensor& rstd);
at::Tensor RmsNormBackward(const at::Tensor& x, const at::Tensor& w, const at::Tensor& rstd,
                           const at::Tensor& dy);

// rope.h's: heads [T, heads, H] with a contiguous last dimension; cos, sin [T, 1, H/2] contiguous.
void ApplyRope(at::Tensor& heads, const at::Tensor& cos, const at::Tensor& sin, bool backward);

}  // namespace ftd::engine::cpu
