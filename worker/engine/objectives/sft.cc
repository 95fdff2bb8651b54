#include "worker/engine/objectives/sft.h"

#include <ATen/ops/zeros.h>

#include <utility>

#include "worker/engine/ops/norm/norm.h"

namespace ftd::engine {

// With P the S positions that have a label, x_P = x[P] and n = norm(x_P):
//   loss = 1/num_items · Σ_s Σ_v −q_sv log softmax(n Wᵀ)_sv    with q as loss.h's SmoothedTarget
//   dn   = 1/num_items · (softmax(n Wᵀ) − q) W                  (loss.h, with W's gradient)
//   dx_P = (∂norm/∂x_P)ᵀ dn,   dx[P] = dx_P and 0 elsewhere
// Rows without a label go neither through the norm nor to the vocabulary: the head is the largest
// product of a small model, and prompts are often most of a batch.
SftResult Sft(Model& model, const FlatBatch& batch, const at::Tensor& x, int64_t num_items,
              const TrainSpec& spec) {
  const at::Tensor final_x = x.index_select(0, batch.supervised);
  NormSaved saved;
  const at::Tensor normed =
      RmsNormForward(final_x, FinalNormWeight(model), model.config.rms_norm_eps, &saved);
  auto [sums, dx] = LinearCrossEntropy(model.head(), normed, batch.targets, num_items,
                                       spec.label_smoothing, LogitsOf(model.config));
  const at::Tensor dfinal = RmsNormBackward(final_x, FinalNormWeight(model), saved, dx,
                                            /*residual=*/{}, model.final_norm.FreshGrad());
  dx = at::zeros(x.sizes(), x.options()).index_copy_(0, batch.supervised, dfinal);
  return {std::move(sums), std::move(dx)};
}

// As Sft, only the rows with a label go through the norm. Its rows are independent of each other.
DeviceSums SftSums(Model& model, const FlatBatch& batch, at::Tensor x, const TrainSpec& spec) {
  x = x.index_select(0, batch.supervised);
  x = FinalNorm(model, x);
  return CrossEntropySums(model.head(), x, batch.targets, spec.label_smoothing,
                          LogitsOf(model.config));
}

}  // namespace ftd::engine
