#include "worker/engine/ops/delta/conv.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/gelu_backward.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/silu_backward.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>

namespace ftd::engine {
namespace {

constexpr char kGeluTanh[] = "tanh";  // gelu_pytorch_tanh of transformers

// Returns how many places a tap looks back, at most to the batch's first token.
int64_t ShiftOf(int64_t tap, int64_t taps, int64_t tokens) {
  return std::min(taps - 1 - tap, tokens);
}

// Returns 1 for the tokens from the `shift`-th on that have a token so far back in their document,
// else 0 [T − shift, 1].
at::Tensor Reaches(const at::Tensor& positions, int64_t shift) {
  return positions.narrow(0, shift, positions.size(0) - shift)
      .ge(shift)
      .to(at::kFloat)
      .unsqueeze(1);
}

// Returns the weights of a tap [C].
at::Tensor TapOf(const at::Tensor& w, int64_t tap) {
  return w.select(2, tap).select(1, 0).to(at::kFloat);
}

// Returns the sums before the activation, in x's dtype.
at::Tensor Convolved(const at::Tensor& x, const at::Tensor& w, const at::Tensor& positions) {
  const int64_t T = x.size(0), taps = w.size(2);
  const at::Tensor wide = x.to(at::kFloat);
  at::Tensor y = wide * TapOf(w, taps - 1);
  for (int64_t tap = taps - 2; tap >= 0; --tap) {
    const int64_t shift = ShiftOf(tap, taps, T);
    y.narrow(0, shift, T - shift)
        .addcmul_(wide.narrow(0, 0, T - shift) * Reaches(positions, shift), TapOf(w, tap));
  }
  return y.to(x.scalar_type());
}

}  // namespace

at::Tensor ConvForward(const at::Tensor& x, const at::Tensor& w, const at::Tensor& positions,
                       Activation activation) {
  const at::Tensor y = Convolved(x, w, positions);
  return activation == Activation::kSilu ? at::silu(y) : at::gelu(y, kGeluTanh);
}

// With dz the gradient of the sums:  dx_{t−s} += w ∘ dz_t,   dw = Σ_t dz_t ∘ x_{t−s}.
at::Tensor ConvBackward(const at::Tensor& x, const at::Tensor& w, const at::Tensor& positions,
                        Activation activation, const at::Tensor& dy, const at::Tensor& w_grad) {
  const at::Tensor z = Convolved(x, w, positions);
  const at::Tensor dz = (activation == Activation::kSilu ? at::silu_backward(dy, z)
                                                         : at::gelu_backward(dy, z, kGeluTanh))
                            .to(at::kFloat);
  const int64_t T = x.size(0), taps = w.size(2);
  const at::Tensor wide = x.to(at::kFloat);
  at::Tensor dx = at::zeros_like(dz);
  for (int64_t tap = 0; tap < taps; ++tap) {
    const int64_t shift = ShiftOf(tap, taps, T);
    const at::Tensor reaching = dz.narrow(0, shift, T - shift) * Reaches(positions, shift);
    const at::Tensor before = wide.narrow(0, 0, T - shift);
    dx.narrow(0, 0, T - shift).addcmul_(reaching, TapOf(w, tap));
    if (w_grad.defined()) w_grad.select(2, tap).select(1, 0).add_((reaching * before).sum(0));
  }
  return dx.to(x.scalar_type());
}

}  // namespace ftd::engine
