// Calling a CUDA kernel with tensors: what the *_cuda.cc of the operators share.
//
// Kernels queue their work on the device's current stream. A launch that fails throws EngineError;
// what fails while a kernel runs shows at the next wait for the device, as with ATen's own.
#pragma once

#include <ATen/core/Tensor.h>

#include "worker/engine/device/launch.h"

namespace ftd::engine::cuda {

// Returns whether there are kernels for tensors of that device: not where the build had no nvcc,
// nor on a GPU older than those that it compiled for.
bool Serves(c10::Device device);

// Returns the stream on which ATen queues its work; null for the CPU, where the tests run the
// kernels.
Stream CurrentStream(c10::Device device);

// Throws EngineError for a dtype that has no kernels.
Type TypeOf(at::ScalarType type);

// Throws EngineError unless all tensors are on the device of the first: a kernel takes addresses as
// they come, and one of the host's would end all use of the GPU.
void CheckOneDevice(at::TensorList tensors);

// Throws EngineError when a launcher answered with `error`; `what` names the kernel.
void Check(const char* error, const char* what);

}  // namespace ftd::engine::cuda
