// loss.h's cross-entropy by a CUDA kernel (device/kernel_call.h).
#pragma once

#include <ATen/core/Tensor.h>

namespace ftd::engine::cuda {

// Turns contiguous logits [S, V] into softmax − one-hot(target) in their own dtype. Returns the
// sums of nll, entropy and correct (loss.h's LossSums), [3] float64 on the device.
at::Tensor CrossEntropyInPlace(const at::Tensor& logits, const at::Tensor& targets);

}  // namespace ftd::engine::cuda
