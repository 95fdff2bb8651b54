// Where kernel_checks.h runs the CUDA kernels: on the GPU (gpu_test.cc), or on the CPU
// (cuda_on_cpu/kernel_device.cc).
#pragma once

#include <ATen/core/Tensor.h>

namespace ftd::engine {

// False, with words for why, where there is none.
bool HasKernelDevice(const char** why);

// A contiguous copy there.
at::Tensor OnKernelDevice(const at::Tensor& tensor);

}  // namespace ftd::engine
