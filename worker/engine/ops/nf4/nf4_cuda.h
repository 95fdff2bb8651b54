// nf4.h's operations by CUDA kernels (device/kernel_call.h).
#pragma once

#include <ATen/core/Tensor.h>

#include "worker/engine/ops/nf4/nf4.h"

namespace ftd::engine::cuda {

// nf4.h's DequantizeNf4, with `out` on the device.
void DequantizeNf4(const Nf4Tensor& quantized, const at::Tensor& out);

// Quantises a contiguous float32, bfloat16 or float16 tensor on the device, rounded to `dtype`
// first, to codes [⌈elements / 2⌉] uint8 and the blocks' scales [⌈elements / 64⌉] float32.
void QuantizeNf4Blocks(const at::Tensor& weight, at::ScalarType dtype, const at::Tensor& codes,
                       const at::Tensor& scales);

}  // namespace ftd::engine::cuda
