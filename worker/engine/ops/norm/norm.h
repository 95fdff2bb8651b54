// RMSNorm (Zhang & Sennrich 2019) as Hugging Face's LlamaRMSNorm rounds it:
//   y = w · cast(x / √(mean(x²) + eps)),  the statistics in float32, cast to x's dtype before the
//   weight; or of the other kinds of lib/model/traits.h.
#pragma once

#include <ATen/core/Tensor.h>

#include "lib/model/traits.h"

namespace ftd::engine {

// A norm's weight w [D], and how it is applied.
struct NormWeight {
  at::Tensor w;
  NormKind kind = NormKind::kRounded;

  NormWeight() = default;
  NormWeight(at::Tensor weight, NormKind of_kind = NormKind::kRounded)  // NOLINT: a plain Llama's
      : w(std::move(weight)), kind(of_kind) {}

  bool defined() const { return w.defined(); }
  int64_t size() const { return w.size(0); }
  // What x̂ is multiplied by: w, or 1 + w in float32.
  at::Tensor Factor() const;
};

struct NormSaved {
  at::Tensor rstd;  // [T, 1] float32: 1 / √(mean(x²) + eps)
};

// Returns y [T, D] of x [T, D].
at::Tensor RmsNormForward(const at::Tensor& x, const NormWeight& weight, double eps,
                          NormSaved* saved);

// Returns the same y again, from the saved statistics.
at::Tensor RmsNormRecompute(const at::Tensor& x, const NormWeight& weight, const NormSaved& saved);

// Returns dx [T, D], plus `residual` [T, D] when it is defined: the gradient that reaches x past
// the norm. Both are rounded to x's dtype before they are added. Adds the weight's gradient, summed
// in float32, to `w_grad` [D] when that is defined.
at::Tensor RmsNormBackward(const at::Tensor& x, const NormWeight& weight, const NormSaved& saved,
                           const at::Tensor& dy, const at::Tensor& residual,
                           const at::Tensor& w_grad);

}  // namespace ftd::engine
