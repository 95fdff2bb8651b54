// softcap.h's operations by CUDA kernels (device/kernel_call.h): float32, bfloat16 or float16.
#pragma once

#include <ATen/core/Tensor.h>

namespace ftd::engine::cuda {

void SoftcapForward(const at::Tensor& z, double softcap);
void SoftcapBackward(const at::Tensor& grad, const at::Tensor& capped, double softcap);

}  // namespace ftd::engine::cuda
