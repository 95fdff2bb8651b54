// swiglu.h's operations as single passes over float32 rows on the CPU (device/cpu_rows.h).
#pragma once

#include <ATen/core/Tensor.h>

namespace ftd::engine::cpu {

// swiglu.h's: gate_up [T, 2F] contiguous, da [T, F] contiguous.
at::Tensor SwigluForward(const at::Tensor& gate_up);
at::Tensor SwigluBackward(const at::Tensor& gate_up, const at::Tensor& da);

}  // namespace ftd::engine::cpu
