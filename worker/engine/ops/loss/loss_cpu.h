// loss.h's cross-entropy as a single pass over float32 logits on the CPU (device/cpu_rows.h).
#pragma once

#include <ATen/core/Tensor.h>

#include "worker/engine/ops/loss/loss.h"

namespace ftd::engine::cpu {

// loss.h's CrossEntropyByAten, in place: logits [S, V] contiguous.
DeviceSums CrossEntropyInPlace(at::Tensor& logits, const at::Tensor& targets, double smoothing = 0);

}  // namespace ftd::engine::cpu
