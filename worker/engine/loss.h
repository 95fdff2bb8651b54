// Cross-entropy over the vocabulary, fused with the output projection and done in chunks of tokens,
// so that the logits of a whole batch never exist. The gradient is made in the same pass.
//
// Legend: S supervised positions, D model, V vocabulary.
#pragma once

#include <ATen/core/Tensor.h>

#include "worker/engine/parameter.h"

namespace ftd::engine {

struct LossResult {
  double nll_sum = 0;  // Σ −log p(target), nats
  at::Tensor dx;       // [S, D] gradient of nll_sum / num_items
};

// x [S, D] after the final norm, at the positions that have a target; targets [S] int64; num_items:
// labels of the whole step. Adds to head.grad when the head is trainable. The softmax is taken in
// float32.
LossResult LinearCrossEntropy(Parameter& head, const at::Tensor& x, const at::Tensor& targets,
                              int64_t num_items);

}  // namespace ftd::engine
