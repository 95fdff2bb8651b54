// glu.h's operations as single passes over float32 rows on the CPU (device/cpu_rows.h).
#pragma once

#include <ATen/core/Tensor.h>

#include "lib/model/traits.h"

namespace ftd::engine::cpu {

// glu.h's: gate_up [T, 2F] contiguous, da [T, F] contiguous.
at::Tensor GluForward(const at::Tensor& gate_up, Activation activation);
at::Tensor GluBackward(const at::Tensor& gate_up, const at::Tensor& da, Activation activation);

}  // namespace ftd::engine::cpu
