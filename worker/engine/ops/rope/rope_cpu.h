// rope.h's rotation as a single pass over float32 heads on the CPU (device/cpu_rows.h).
#pragma once

#include <ATen/core/Tensor.h>

#include "worker/engine/ops/rope/rope.h"

namespace ftd::engine::cpu {

void ApplyRope(at::Tensor& heads, const RopeTable& table, bool backward);

}  // namespace ftd::engine::cpu
