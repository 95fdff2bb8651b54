#include "worker/engine/ops/norm/norm.h"
#include "worker/engine/device/cpu_rows.h"
#include "worker/engine/device/kernel_call.h"
#include "worker/engine/ops/norm/norm_cpu.h"
#include "worker/engine/ops/norm/norm_cuda.h"

#include <ATen/TensorOperators.h>

namespace ftd::engine {
namespace {

// Returns x̂ = x / rms(x), float32.
at::Tensor Normalised(const at::Tensor& x, const NormSaved& saved) {
  return x.to(at::kFloat).mul(saved.rstd);
}

}  // namespace

at::Tensor NormWeight::Factor() const {
  return kind == NormKind::kOffset ? w.to(at::kFloat).add(1) : w;
}

at::Tensor RmsNormForward(const at::Tensor& x, const NormWeight& weight, double eps,
                          NormSaved* saved) {
  if (cpu::Serves(x)) return cpu::RmsNormForward(x, weight.Factor(), eps, &saved->rstd);
  if (cuda::Serves(x.device())) return cuda::RmsNormForward(x, weight, eps, &saved->rstd);
  // LlamaRMSNorm.forward, operator by operator. Of its float32 intermediates only the statistic is
  // kept: [T, 1], from which the backward pass makes x̂ again.
  saved->rstd = x.to(at::kFloat).square().mean({-1}, /*keepdim=*/true).add_(eps).rsqrt_();
  return RmsNormRecompute(x, weight, *saved);
}

at::Tensor RmsNormRecompute(const at::Tensor& x, const NormWeight& weight, const NormSaved& saved) {
  if (cpu::Serves(x)) return cpu::RmsNormRecompute(x, weight.Factor(), saved.rstd);
  if (cuda::Serves(x.device())) return cuda::RmsNormRecompute(x, weight, saved.rstd);
  // Where the cast comes before the weight, as in LlamaRMSNorm, a 16-bit y is rounded twice.
  if (weight.kind == NormKind::kRounded)
    return Normalised(x, saved).to(x.scalar_type()).mul_(weight.w);
  return Normalised(x, saved).mul_(weight.Factor()).to(x.scalar_type());
}

at::Tensor RmsNormBackward(const at::Tensor& x, const NormWeight& weight, const NormSaved& saved,
                           const at::Tensor& dy, const at::Tensor& residual,
                           const at::Tensor& w_grad) {
  if (cuda::Serves(x.device())) {
    // dw = Σ_t dy_t ∘ x̂_t over the T tokens, in float32 with x̂ not rounded to the dtype.
    if (w_grad.defined()) cuda::AddRmsNormWeightGrad(x, saved.rstd, dy, w_grad);
    return cuda::RmsNormBackward(x, weight, saved.rstd, dy, residual);
  }
  if (w_grad.defined()) w_grad.add_(dy.to(at::kFloat).mul(Normalised(x, saved)).sum(0));
  at::Tensor dx;
  if (cpu::Serves(x)) {
    dx = cpu::RmsNormBackward(x, weight.Factor(), saved.rstd, dy);
  } else {
    const at::Tensor x_hat = Normalised(x, saved);
    // With x̂ = x·rstd and g = dy·w:  dx = rstd · (g − x̂ · mean(g·x̂)).
    at::Tensor g = dy.to(at::kFloat).mul(weight.Factor());
    const at::Tensor projection = g.mul(x_hat).mean({-1}, /*keepdim=*/true);
    dx = g.sub_(x_hat * projection).mul_(saved.rstd).to(x.scalar_type());
  }
  // x feeds both the norm and the skip connection around it. dx was rounded above, since autograd
  // would hold both gradients in x's dtype before it adds them.
  return residual.defined() ? dx.add_(residual) : dx;
}

}  // namespace ftd::engine
