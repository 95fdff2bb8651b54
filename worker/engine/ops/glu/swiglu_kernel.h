// swiglu.h on the GPU. Where ATen's operators would round to the dtype, so do these.
#pragma once

#include <cstdint>

#include "worker/engine/device/launch.h"

namespace ftd::engine::cuda {

// a [rows, width] of gate_up [rows, 2·width], contiguous.
const char* SwigluForward(const void* gate_up, Type type, int64_t rows, int64_t width, void* a,
                          Stream stream);

// d_gate_up [rows, 2·width] of gate_up and da [rows, width], contiguous.
const char* SwigluBackward(const void* gate_up, const void* da, Type type, int64_t rows,
                           int64_t width, void* d_gate_up, Stream stream);

}  // namespace ftd::engine::cuda
