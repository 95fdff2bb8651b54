// AdamW (Loshchilov & Hutter 2019) with gradient clipping, by ATen's fused kernels.
#pragma once

#include <cstdint>
#include <vector>

#include "worker/engine/tensors/parameter.h"

namespace ftd::engine {

// Returns the L2 norm of all gradients together, a number on their device, of their dtype.
at::Tensor GradientNorm(const std::vector<Parameter*>& parameters);

// Multiplies the gradients.
void ScaleGradients(const std::vector<Parameter*>& parameters, double factor);

// Clips by min(1, max_norm / (norm + 1e-6)), a number of the gradients' own dtype as in
// torch.nn.utils.clip_grad_norm_, without waiting for the device. Returns the divisor that
// AdamWStep is to apply to float32 gradients on a GPU, which saves a pass over them; for others,
// which it scales here, an undefined tensor.
at::Tensor ClipGradients(const std::vector<Parameter*>& parameters, const at::Tensor& norm,
                         double max_norm);

// Makes all gradients stale: what is added next is their first.
void ForgetGradients(const std::vector<Parameter*>& parameters);

// Makes the gradients zero to which nothing was added.
void CompleteGradients(const std::vector<Parameter*>& parameters);

// Forgets the first and second moments.
void ResetMoments(const std::vector<Parameter*>& parameters);

// Updates the masters once, with β = (0.9, 0.999), eps = 1e-8; `step` is 1-based. Refreshes each
// `value` that is not its own master. `grad_scale`, if defined, divides the gradients.
void AdamWStep(const std::vector<Parameter*>& parameters, int64_t step, double learning_rate,
               double weight_decay, const at::Tensor& grad_scale = {});

}  // namespace ftd::engine
