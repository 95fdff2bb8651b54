// NF4 with double quantisation (Dettmers et al. 2023, QLoRA), bit for bit as bitsandbytes 0.50 on
// the CPU makes and reads it; on a GPU too.
//
// A weight is flattened and cut into blocks of 64. Each block is scaled by its largest absolute
// value to [-1, 1] and each element becomes the nearest of 16 fixed values, two to a byte, the
// first in the high half. The scales, less their mean, are themselves quantised to 8 bits in blocks
// of 256 against the "dynamic" map of 256 values. 4.127 bits an element.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace ftd::engine {

// A quantised matrix.
struct Nf4Tensor {
  at::Tensor codes;   // [⌈rows·cols / 2⌉] uint8
  at::Tensor absmax;  // [blocks] uint8; or float32: the scales themselves, not quantised again
  at::Tensor nested_absmax;  // [⌈blocks / 256⌉] float32
  at::Tensor nested_map;     // [256] float32
  float nested_offset = 0;   // the mean of the scales
  int64_t rows = 0, cols = 0;

  bool defined() const { return codes.defined(); }
};

// Returns the 256 values of the dynamic map, ascending, float32 on the CPU.
at::Tensor DynamicMap();

// Quantises a contiguous float32, bfloat16 or float16 matrix, rounded to `dtype` first, to a result
// on `device`. A device with a kernel does it itself, and needs room for a copy of the matrix next
// to the result; otherwise the CPU does. The bytes are the same.
Nf4Tensor QuantizeNf4(const at::Tensor& weight, at::ScalarType dtype,
                      c10::Device device = c10::kCPU);

// Writes the matrix to `out` [rows, cols], contiguous, float32, bfloat16 or float16, on the device
// of the codes.
void DequantizeNf4(const Nf4Tensor& quantized, const at::Tensor& out);

// Writes the same by ATen's operators: serves devices without a kernel, and is the kernels' oracle.
void DequantizeNf4ByAten(const Nf4Tensor& quantized, const at::Tensor& out);

}  // namespace ftd::engine
