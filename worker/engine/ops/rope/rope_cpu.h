// rope.h's rotation as a single pass over float32 heads on the CPU (device/cpu_rows.h).
#pragma once

#include <ATen/core/Tensor.h>

namespace ftd::engine::cpu {

// rope.h's: heads [T, heads, H] with a contiguous last dimension; cos, sin [T, 1, H/2] contiguous.
void ApplyRope(at::Tensor& heads, const at::Tensor& cos, const at::Tensor& sin, bool backward);

}  // namespace ftd::engine::cpu
