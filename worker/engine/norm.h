// RMSNorm (Zhang & Sennrich 2019) as Hugging Face's LlamaRMSNorm rounds it:
//   y = w · cast(x / √(mean(x²) + eps)),  the statistics in float32, cast to x's dtype before the
//   weight.
#pragma once

#include <ATen/core/Tensor.h>

namespace ftd::engine {

struct NormSaved {
  at::Tensor rstd;  // [T, 1] float32: 1 / √(mean(x²) + eps)
};

// y [T, D] of x [T, D] and w [D].
at::Tensor RmsNormForward(const at::Tensor& x, const at::Tensor& w, double eps, NormSaved* saved);

// The same y again, from the saved statistics.
at::Tensor RmsNormAgain(const at::Tensor& x, const at::Tensor& w, const NormSaved& saved);

// dx [T, D]. Adds to `w_grad` [D] (float32) when it is defined.
at::Tensor RmsNormBackward(const at::Tensor& x, const at::Tensor& w, const NormSaved& saved,
                           const at::Tensor& dy, const at::Tensor& w_grad);

}  // namespace ftd::engine
