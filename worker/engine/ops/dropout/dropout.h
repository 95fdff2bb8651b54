// Dropout on the inputs of adapters (Srivastava et al. 2014): elements become zero with probability
// p, the others are scaled by 1 / (1 − p). The mask is recomputed wherever it is needed
// (dropout_mask.h), so that the backward pass, gradient checkpointing and a resumed run see the
// forward pass's, on every device.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "worker/engine/ops/dropout/dropout_mask.h"

namespace ftd::engine {

// The masks of one linear map in one micro-batch. Each adapter (`part`) of the map has its own.
struct Dropout {
  double p = 0;       // 0 ≤ p < 1
  uint64_t seed = 0;  // of the micro-batch
  uint32_t map = 0;   // distinct for each map of the model

  DropoutMask Mask(size_t part) const;
};

// Returns x with elements dropped and the rest scaled, in x's dtype. x: contiguous float32,
// bfloat16 or float16.
at::Tensor Dropped(const at::Tensor& x, const DropoutMask& mask);

// Adds Dropped(x) to sum, rounded to the dtype before and after the addition. sum and x as above,
// of one shape.
void AddDropped(const at::Tensor& sum, const at::Tensor& x, const DropoutMask& mask);

}  // namespace ftd::engine
