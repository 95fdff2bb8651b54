// The kernels of cuda/ for tensors: as cpu_kernels.h on the CPU, each serves the file that calls it
// and has its twin there.
//
// They queue their work on the device's current stream. A launch that fails throws EngineError;
// what fails while a kernel runs shows at the next wait for the device, as ATen's own.
#pragma once

#include <ATen/core/Tensor.h>

#include "worker/engine/dropout_mask.h"
#include "worker/engine/nf4.h"

namespace ftd::engine::cuda {

// Are there kernels for tensors of that device? Not where the build had no nvcc, nor on a GPU older
// than those that it compiled for.
bool Serves(c10::Device device);

// nf4.h's DequantizeNf4, with `out` on the device.
void DequantizeNf4(const Nf4Tensor& quantized, const at::Tensor& out);

// Quantises a contiguous float32, bfloat16 or float16 tensor on the device, rounded to `dtype`
// first, to codes [⌈elements / 2⌉] uint8 and the blocks' scales [⌈elements / 64⌉] float32.
void QuantizeNf4Blocks(const at::Tensor& weight, at::ScalarType dtype, const at::Tensor& codes,
                       const at::Tensor& scales);

// Turns contiguous logits [S, V] into softmax − one-hot(target) in their own dtype. Returns the
// sums of nll, entropy and correct (loss.h's LossSums), [3] float64 on the device.
at::Tensor CrossEntropyInPlace(const at::Tensor& logits, const at::Tensor& targets);

// norm.h's, rope.h's and swiglu.h's operations, shaped as cpu_kernels.h's; float32, bfloat16 or
// float16, all of one dtype but rstd, which is float32.
at::Tensor RmsNormForward(const at::Tensor& x, const at::Tensor& w, double eps, at::Tensor* rstd);
at::Tensor RmsNormAgain(const at::Tensor& x, const at::Tensor& w, const at::Tensor& rstd);
at::Tensor RmsNormBackward(const at::Tensor& x, const at::Tensor& w, const at::Tensor& rstd,
                           const at::Tensor& dy, const at::Tensor& residual);
// Adds the gradient of w to w_grad [D], of any of the dtypes.
void AddRmsNormWeightGrad(const at::Tensor& x, const at::Tensor& rstd, const at::Tensor& dy,
                          const at::Tensor& w_grad);
void ApplyRope(const at::Tensor& heads, const at::Tensor& cos, const at::Tensor& sin,
               bool backward);
// dqkv [T, (N+2K)·H] of dq [T, N, H], dk and dv [T, K, H], contiguous: ApplyRope backward of dq and
// dk, and dv.
at::Tensor RotateBack(const at::Tensor& dq, const at::Tensor& dk, const at::Tensor& dv,
                      const at::Tensor& cos, const at::Tensor& sin);
at::Tensor SwigluForward(const at::Tensor& gate_up);
at::Tensor SwigluBackward(const at::Tensor& gate_up, const at::Tensor& da);

// dropout.h's operations.
at::Tensor Dropped(const at::Tensor& x, const DropoutMask& mask);
void AddDropped(const at::Tensor& sum, const at::Tensor& x, const DropoutMask& mask);

}  // namespace ftd::engine::cuda
