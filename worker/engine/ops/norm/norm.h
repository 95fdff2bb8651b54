// RMSNorm (Zhang & Sennrich 2019) as Hugging Face's LlamaRMSNorm rounds it:
//   y = w · cast(x / √(mean(x²) + eps)),  the statistics in float32, cast to x's dtype before the
//   weight.
#pragma once

#include <ATen/core/Tensor.h>

namespace ftd::engine {

struct NormSaved {
  at::Tensor rstd;  // [T, 1] float32: 1 / √(mean(x²) + eps)
};

// Returns y [T, D] of x [T, D] and w [D].
at::Tensor RmsNormForward(const at::Tensor& x, const at::Tensor& w, double eps, NormSaved* saved);

// Returns the same y again, from the saved statistics.
at::Tensor RmsNormRecompute(const at::Tensor& x, const at::Tensor& w, const NormSaved& saved);

// Returns dx [T, D], plus `residual` [T, D] when it is defined: the gradient that reaches x past
// the norm. Both are rounded to x's dtype before they are added. Adds the weight's gradient, summed
// in float32, to `w_grad` [D] when that is defined.
at::Tensor RmsNormBackward(const at::Tensor& x, const at::Tensor& w, const NormSaved& saved,
                           const at::Tensor& dy, const at::Tensor& residual,
                           const at::Tensor& w_grad);

}  // namespace ftd::engine
