// swiglu.h's operations by CUDA kernels (device/kernel_call.h): float32, bfloat16 or float16, all
// of one dtype. Shapes as in swiglu_cpu.h.
#pragma once

#include <ATen/core/Tensor.h>

namespace ftd::engine::cuda {

at::Tensor SwigluForward(const at::Tensor& gate_up);
at::Tensor SwigluBackward(const at::Tensor& gate_up, const at::Tensor& da);

}  // namespace ftd::engine::cuda
