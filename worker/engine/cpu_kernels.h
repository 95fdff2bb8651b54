// The memory-bound steps of a layer as single passes over float32 data on the CPU. Each has an ATen
// twin in the file that calls it, which serves the other dtypes and devices and is its oracle in
// the tests.
//
// Rows are shared out among threads whole, so results do not depend on the number of threads.
#pragma once

#include <ATen/core/Tensor.h>

#include "worker/engine/loss.h"

namespace ftd::engine::cpu {

// Is `x` what these kernels are for?
inline bool Serves(const at::Tensor& x) { return x.is_cpu() && x.scalar_type() == at::kFloat; }

// norm.h's operations: x, dy [T, D] contiguous float32, w [D], rstd [T, 1].
at::Tensor RmsNormForward(const at::Tensor& x, const at::Tensor& w, double eps, at::Tensor* rstd);
at::Tensor RmsNormAgain(const at::Tensor& x, const at::Tensor& w, const at::Tensor& rstd);
at::Tensor RmsNormBackward(const at::Tensor& x, const at::Tensor& w, const at::Tensor& rstd,
                           const at::Tensor& dy);

// rope.h's: heads [T, heads, H] with a contiguous last dimension; cos, sin [T, 1, H/2] contiguous.
void ApplyRope(at::Tensor& heads, const at::Tensor& cos, const at::Tensor& sin, bool backward);

// swiglu.h's: gate_up [T, 2F] contiguous, da [T, F] contiguous.
at::Tensor SwigluForward(const at::Tensor& gate_up);
at::Tensor SwigluBackward(const at::Tensor& gate_up, const at::Tensor& da);

// loss.h's CrossEntropyByAten, in place: logits [S, V] contiguous.
DeviceSums CrossEntropyInPlace(at::Tensor& logits, const at::Tensor& targets);

}  // namespace ftd::engine::cpu
