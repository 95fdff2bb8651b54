// A causal convolution of each channel by itself, followed by an activation, in which no document
// sees another (transformers' causal_conv1d_fn):
//   y_t = act(Σ_s w_{taps−1−s} ∘ x_{t−s}),   s from 0 to taps − 1, tokens before a document's first
//   zero
// Sums in float32; in 16-bit types they are rounded before the activation.
//
// Legend: T tokens, C channels.
#pragma once

#include <ATen/core/Tensor.h>

#include "lib/model/traits.h"

namespace ftd::engine {

// Returns y [T, C] of x [T, C], which may be a part of a wider tensor, and w [C, 1, taps].
// `positions` [T]: of the tokens in their documents.
at::Tensor ConvForward(const at::Tensor& x, const at::Tensor& w, const at::Tensor& positions,
                       Activation activation);

// Returns dx [T, C]. Adds w's gradient to `w_grad` [C, 1, taps] when that is defined.
at::Tensor ConvBackward(const at::Tensor& x, const at::Tensor& w, const at::Tensor& positions,
                        Activation activation, const at::Tensor& dy, const at::Tensor& w_grad);

}  // namespace ftd::engine
