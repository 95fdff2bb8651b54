// Cross-entropy over the vocabulary, fused with the output projection and done in chunks of tokens,
// so that the logits of a whole batch never exist. The gradient is made in the same pass.
//
// Legend: S supervised positions, D model, V vocabulary.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>

#include "worker/engine/tensors/parameter.h"

namespace ftd::engine {

// Sums over supervised positions, taken from the same pass as the gradient.
struct LossSums {
  double loss = 0;        // of each position −Σ_v q_v log p_v, nats: below
  double entropy = 0;     // −Σ p log p over the vocabulary, nats
  int64_t correct = 0;    // positions whose target is the likeliest token; of equals the first
  int64_t positions = 0;  // S

  // A sum's mean over the positions; 0 where there are none.
  double Mean(double sum) const {
    return sum / static_cast<double>(std::max<int64_t>(positions, 1));
  }
};

// The same sums on the device that computed them, so that the host need not wait: [3] float64,
// loss, entropy and correct.
using DeviceSums = at::Tensor;

// Returns the sums of `positions` positions; `sums` is on the host.
LossSums OnHost(const DeviceSums& sums, int64_t positions);

struct LossResult {
  DeviceSums sums;
  at::Tensor dx;  // [S, D] gradient of loss / num_items
};

// The distribution that a position is to predict, with label smoothing ε (Szegedy et al. 2016): the
// target with 1 − ε, and ε shared out evenly among all V tokens, the target among them. It is the
// one-hot q for ε = 0.
struct SmoothedTarget {
  float at_target, everywhere;  // q = everywhere + at_target · one-hot(target)

  SmoothedTarget(double smoothing, int64_t vocabulary)
      : at_target(static_cast<float>(1 - smoothing)),
        everywhere(static_cast<float>(smoothing / static_cast<double>(vocabulary))) {}
};

// What makes logits of the head's products z: softcap(z / divisor).
struct LogitsShape {
  double divisor = 1;
  double softcap = 0;  // 0: none
};

// Applies it to products [S, V] in place, of any dtype.
void ShapeLogits(at::Tensor& products, const LogitsShape& shape);

// Turns float32 logits [S, V] into softmax − q, the gradient of −Σ_v q_v log softmax_v, by ATen.
// Sums −log softmax[target] as the loss. loss_cpu.h's and loss_cuda.h's do the same in one pass.
DeviceSums CrossEntropyByAten(at::Tensor& logits, const at::Tensor& targets, double smoothing = 0);

// Returns the sums alone, for evaluation. x and targets as below.
DeviceSums CrossEntropySums(const Parameter& head, const at::Tensor& x, const at::Tensor& targets,
                            double smoothing = 0, const LogitsShape& shape = {});

// x [S, D] after the final norm, at the positions that have a target; targets [S] int64; num_items:
// labels of the whole step. Adds to head.grad when the head is trainable. The softmax is taken in
// float32.
LossResult LinearCrossEntropy(Parameter& head, const at::Tensor& x, const at::Tensor& targets,
                              int64_t num_items, double smoothing = 0,
                              const LogitsShape& shape = {});

}  // namespace ftd::engine
