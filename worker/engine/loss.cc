#include "worker/engine/loss.h"

#include <ATen/ops/_log_softmax.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mm.h>

#include <algorithm>

namespace ftd::engine {
namespace {

// float32 logits of one chunk, in bytes. Large enough for full speed of the products, small beside
// the model.
constexpr int64_t kChunkBytes = 64 << 20;

}  // namespace

LossResult LinearCrossEntropy(Parameter& head, const at::Tensor& x, const at::Tensor& targets,
                              int64_t num_items) {
  const int64_t S = x.size(0), V = head.value.size(0);
  const int64_t chunk = std::clamp<int64_t>(kChunkBytes / (V * 4), 16, 4096);
  const double scale = 1.0 / static_cast<double>(std::max<int64_t>(num_items, 1));
  LossResult result;
  result.dx = at::empty_like(x);
  for (int64_t begin = 0; begin < S; begin += chunk) {
    const int64_t count = std::min(chunk, S - begin);
    const at::Tensor x_chunk = x.narrow(0, begin, count);
    const at::Tensor target = targets.narrow(0, begin, count).unsqueeze(1);
    at::Tensor logits = at::mm(x_chunk, head.value.t()).to(at::kFloat);
    at::_log_softmax_out(logits, logits, 1, /*half_to_float=*/false);
    result.nll_sum -= logits.gather(1, target).sum(at::kDouble).item<double>();
    // d(nll)/d(logits) = softmax − one-hot.
    at::Tensor dlogits =
        logits.exp_().scatter_add_(1, target, at::full({count, 1}, -1.0, logits.options()));
    dlogits.mul_(scale);
    dlogits = dlogits.to(x.scalar_type());
    at::Tensor dx_chunk = result.dx.narrow(0, begin, count);
    at::mm_out(dx_chunk, dlogits, head.value);
    if (head.trainable()) {
      if (x.scalar_type() == at::kFloat) {
        head.grad.addmm_(dlogits.t(), x_chunk);
      } else {
        head.grad.add_(at::mm(dlogits.t(), x_chunk));
      }
    }
  }
  return result;
}

}  // namespace ftd::engine
