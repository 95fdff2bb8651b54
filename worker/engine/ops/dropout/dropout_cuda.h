// dropout.h's operations by CUDA kernels (device/kernel_call.h).
#pragma once

#include <ATen/core/Tensor.h>

#include "worker/engine/ops/dropout/dropout_mask.h"

namespace ftd::engine::cuda {

at::Tensor Dropped(const at::Tensor& x, const DropoutMask& mask);
void AddDropped(const at::Tensor& sum, const at::Tensor& x, const DropoutMask& mask);

}  // namespace ftd::engine::cuda
