// norm.h's operations as single passes over float32 rows on the CPU (device/cpu_rows.h).
#pragma once

#include <ATen/core/Tensor.h>

namespace ftd::engine::cpu {

// norm.h's operations: x, dy [T, D] contiguous float32, w [D], rstd [T, 1].
at::Tensor RmsNormForward(const at::Tensor& x, const at::Tensor& w, double eps, at::Tensor* rstd);
at::Tensor RmsNormRecompute(const at::Tensor& x, const at::Tensor& w, const at::Tensor& rstd);
at::Tensor RmsNormBackward(const at::Tensor& x, const at::Tensor& w, const at::Tensor& rstd,
                           const at::Tensor& dy);

}  // namespace ftd::engine::cpu
