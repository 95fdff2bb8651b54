// loss.h's cross-entropy by a CUDA kernel (device/kernel_call.h).
#pragma once

#include <ATen/core/Tensor.h>

namespace ftd::engine::cuda {

// loss.h's CrossEntropyByAten, in place: contiguous logits [S, V], in their own dtype. Returns the
// sums [3] float64 on the device.
at::Tensor CrossEntropyInPlace(const at::Tensor& logits, const at::Tensor& targets,
                               double smoothing = 0);

}  // namespace ftd::engine::cuda
