#include "worker/engine/training/optimizer.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/_foreach_copy.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>

#include <optional>

namespace ftd::engine {
namespace {

// transformers' defaults (adam_beta1, adam_beta2, adam_epsilon).
constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kEps = 1e-8;

std::vector<at::Tensor> GradientTensors(const std::vector<Parameter*>& parameters) {
  std::vector<at::Tensor> grads;
  grads.reserve(parameters.size());
  for (const Parameter* p : parameters) grads.push_back(p->grad);
  return grads;
}

}  // namespace

// The norm of the tensors' norms, as torch.nn.utils.clip_grad_norm_ computes it.
at::Tensor GradientNorm(const std::vector<Parameter*>& parameters) {
  return at::linalg_vector_norm(at::stack(at::_foreach_norm(GradientTensors(parameters), 2)));
}

at::Tensor ClipGradients(const std::vector<Parameter*>& parameters, const at::Tensor& norm,
                         double max_norm) {
  // On a GPU the factor stays a tensor, since to read it would wait for the device: AdamW's kernel
  // divides float32 gradients by it, and by 1 where nothing is clipped. The CPU knows the factor
  // and saves the pass unless it is below 1.
  if (norm.is_cuda() && norm.scalar_type() == at::kFloat)
    return norm.add(1e-6).div_(max_norm).clamp_min_(1);
  const at::Tensor coefficient = norm.add(1e-6).reciprocal_().mul_(max_norm);
  if (norm.is_cuda()) {
    at::_foreach_mul_(GradientTensors(parameters), coefficient.clamp_max_(1));
  } else if (const auto factor = coefficient.item<double>(); factor < 1) {
    ScaleGradients(parameters, factor);
  }
  return {};
}

void ScaleGradients(const std::vector<Parameter*>& parameters, double factor) {
  at::_foreach_mul_(GradientTensors(parameters), factor);
}

void ForgetGradients(const std::vector<Parameter*>& parameters) {
  for (Parameter* p : parameters) p->grad_is_stale = true;
}

void CompleteGradients(const std::vector<Parameter*>& parameters) {
  for (Parameter* p : parameters) p->FreshGrad();
}

void ResetMoments(const std::vector<Parameter*>& parameters) {
  for (Parameter* p : parameters) {
    p->exp_avg.zero_();
    p->exp_avg_sq.zero_();
  }
}

// With g the gradient over grad_scale, t the step, lr the rate and λ the decay:
//   m = β₁ m + (1 − β₁) g,   v = β₂ v + (1 − β₂) g²
//   w = w (1 − lr λ) − lr · m / (1 − β₁ᵗ) / (√(v / (1 − β₂ᵗ)) + ε)
void AdamWStep(const std::vector<Parameter*>& parameters, int64_t step, double learning_rate,
               double weight_decay, const at::Tensor& grad_scale) {
  // One number for all: a GPU would be handed a fill for each otherwise.
  const at::Tensor step_number = at::full({}, static_cast<double>(step),
                                          parameters.front()->master.options().dtype(at::kFloat));
  // Two groups as in transformers' Trainer, whose norms do not decay.
  for (bool decays : {true, false}) {
    std::vector<at::Tensor> masters, grads, exp_avgs, exp_avg_sqs;
    for (const Parameter* p : parameters) {
      if (p->decays != decays) continue;
      masters.push_back(p->master);
      grads.push_back(p->grad);
      exp_avgs.push_back(p->exp_avg);
      exp_avg_sqs.push_back(p->exp_avg_sq);
    }
    if (masters.empty()) continue;
    const std::vector<at::Tensor> steps(masters.size(), step_number);
    at::_fused_adamw_(masters, grads, exp_avgs, exp_avg_sqs, {}, steps, learning_rate, kBeta1,
                      kBeta2, decays ? weight_decay : 0.0, kEps, /*amsgrad=*/false,
                      /*maximize=*/false,
                      grad_scale.defined() ? std::optional(grad_scale) : std::nullopt);
  }
  // Rounds the masters to the compute dtype: the next forward pass multiplies with `value`.
  std::vector<at::Tensor> values, masters;
  for (const Parameter* p : parameters) {
    if (p->value.is_same(p->master)) continue;
    values.push_back(p->value);
    masters.push_back(p->master);
  }
  if (!values.empty()) at::_foreach_copy_(values, masters);
}

}  // namespace ftd::engine
