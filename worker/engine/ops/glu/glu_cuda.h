// glu.h's operations by CUDA kernels (device/kernel_call.h): float32, bfloat16 or float16, all
// of one dtype. Shapes as in swiglu_cpu.h.
#pragma once

#include <ATen/core/Tensor.h>

#include "lib/model/traits.h"

namespace ftd::engine::cuda {

at::Tensor GluForward(const at::Tensor& gate_up, Activation activation);
at::Tensor GluBackward(const at::Tensor& gate_up, const at::Tensor& da, Activation activation);

}  // namespace ftd::engine::cuda
