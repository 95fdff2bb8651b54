// Soft caps (Bello et al. 2016; Gemma 2): z ← c · tanh(z / c), which bounds scores and logits to
// ±c.
#pragma once

#include <ATen/core/Tensor.h>

namespace ftd::engine {

// Caps the contiguous tensor z in place. In 16-bit types quotient, tanh and product are rounded
// each, as in transformers.
void SoftcapForward(at::Tensor& z, double softcap);

// Takes the gradient of capped values, in `grad`, to that before the cap, in place:
// grad ← grad · (1 − (capped / c)²). Both contiguous, of one shape and dtype.
void SoftcapBackward(at::Tensor& grad, const at::Tensor& capped, double softcap);

}  // namespace ftd::engine
