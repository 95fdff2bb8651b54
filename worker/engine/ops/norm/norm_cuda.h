// norm.h's operations by CUDA kernels (device/kernel_call.h): float32, bfloat16 or float16, all of
// one dtype but rstd, which is float32. Shapes as in norm_cpu.h.
#pragma once

#include <ATen/core/Tensor.h>

#include "worker/engine/ops/norm/norm.h"

namespace ftd::engine::cuda {

at::Tensor RmsNormForward(const at::Tensor& x, const NormWeight& weight, double eps,
                          at::Tensor* rstd);
at::Tensor RmsNormRecompute(const at::Tensor& x, const NormWeight& weight, const at::Tensor& rstd);
at::Tensor RmsNormBackward(const at::Tensor& x, const NormWeight& weight, const at::Tensor& rstd,
                           const at::Tensor& dy, const at::Tensor& residual);
// Adds the gradient of w to w_grad [D], of any of the dtypes.
void AddRmsNormWeightGrad(const at::Tensor& x, const at::Tensor& rstd, const at::Tensor& dy,
                          const at::Tensor& w_grad);

}  // namespace ftd::engine::cuda
