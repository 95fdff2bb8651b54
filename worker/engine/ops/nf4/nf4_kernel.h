// NF4 on the GPU, bit for bit as worker/engine/ops/nf4/nf4.cc on the CPU.
#pragma once

#include <cstdint>

#include "worker/engine/device/launch.h"

namespace ftd::engine::cuda {

// nf4.h's Nf4Tensor.
struct Nf4Pointers {
  const uint8_t* codes;
  const float* scales;    // of each block; nullptr when they are quantised themselves, as
  const uint8_t* absmax;  // nested_map[absmax] · nested_absmax + nested_offset
  const float* nested_absmax;
  const float* nested_map;
  float nested_offset;
};

// The launchers; all null where the build has no nvcc.
struct Nf4Kernels {
  // out [count] of `type`.
  const char* (*dequantize)(const Nf4Pointers& quantized, void* out, Type type, int64_t count,
                            Stream stream);

  // values [count] of `type`, rounded to `rounding` first, to codes [⌈count / 2⌉] and to the scales
  // [⌈count / 64⌉] of their blocks.
  const char* (*quantize)(const void* values, Type type, Type rounding, int64_t count,
                          uint8_t* codes, float* scales, Stream stream);
};

extern const Nf4Kernels kNf4Kernels;

}  // namespace ftd::engine::cuda
