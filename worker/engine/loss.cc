#include "worker/engine/loss.h"

#include <ATen/ops/_log_softmax.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>

#include "worker/engine/cpu_kernels.h"

namespace ftd::engine {
namespace {

// float32 logits of one chunk, in bytes. Large enough for full speed of the products, small beside
// the model.
constexpr int64_t kChunkBytes = 64 << 20;

// Positions whose logits are made at a time.
int64_t ChunkOf(const Parameter& head) {
  return std::clamp<int64_t>(kChunkBytes / (head.value.size(0) * 4), 16, 4096);
}

LossSums CrossEntropyInPlace(at::Tensor& logits, const at::Tensor& targets) {
  return cpu::Serves(logits) ? cpu::CrossEntropyInPlace(logits, targets)
                             : CrossEntropyByAten(logits, targets);
}

}  // namespace

void LossSums::operator+=(const LossSums& other) {
  nll += other.nll;
  entropy += other.entropy;
  correct += other.correct;
  positions += other.positions;
}

LossSums CrossEntropyByAten(at::Tensor& logits, const at::Tensor& targets) {
  const at::Tensor column = targets.unsqueeze(1);
  const at::Tensor correct = logits.argmax(1).eq(targets).sum(at::kDouble);
  at::_log_softmax_out(logits, logits, 1, /*half_to_float=*/false);
  const at::Tensor nll = logits.gather(1, column).sum(at::kDouble).neg();
  const at::Tensor p = logits.exp();
  const at::Tensor entropy = logits.mul_(p).sum(at::kDouble).neg();
  logits = p.scatter_add(1, column, at::full(column.sizes(), -1.0, p.options()));
  const at::Tensor sums = at::stack({nll, entropy, correct}).cpu();  // one wait for the device
  const double* sum = sums.const_data_ptr<double>();
  return {sum[0], sum[1], static_cast<int64_t>(sum[2]), targets.numel()};
}

LossSums CrossEntropySums(const Parameter& head, const at::Tensor& x, const at::Tensor& targets) {
  const int64_t S = x.size(0), chunk = ChunkOf(head);
  LossSums sums;
  for (int64_t begin = 0; begin < S; begin += chunk) {
    const int64_t count = std::min(chunk, S - begin);
    at::Tensor logits = at::mm(x.narrow(0, begin, count), head.value.t()).to(at::kFloat);
    sums += CrossEntropyInPlace(logits, targets.narrow(0, begin, count));
  }
  return sums;
}

LossResult LinearCrossEntropy(Parameter& head, const at::Tensor& x, const at::Tensor& targets,
                              int64_t num_items) {
  const int64_t S = x.size(0), chunk = ChunkOf(head);
  const double scale = 1.0 / static_cast<double>(num_items);
  LossResult result;
  result.dx = at::empty_like(x);
  // Summed over the chunks in float32 whatever head.grad is, so that it is rounded once.
  at::Tensor head_grad = head.grad;
  if (head.trainable() && head.grad.scalar_type() != at::kFloat)
    head_grad = at::zeros_like(head.grad, head.grad.options().dtype(at::kFloat));
  for (int64_t begin = 0; begin < S; begin += chunk) {
    const int64_t count = std::min(chunk, S - begin);
    const at::Tensor x_chunk = x.narrow(0, begin, count);
    at::Tensor logits = at::mm(x_chunk, head.value.t()).to(at::kFloat);
    result.sums += CrossEntropyInPlace(logits, targets.narrow(0, begin, count));
    const at::Tensor dlogits = logits.to(x.scalar_type());
    at::Tensor dx_chunk = result.dx.narrow(0, begin, count);
    at::mm_out(dx_chunk, dlogits, head.value);
    dx_chunk.mul_(scale);
    if (head.trainable()) AccumulateProduct(head_grad, dlogits, x_chunk, scale);
  }
  if (!head_grad.is_same(head.grad)) head.grad.add_(head_grad);
  return result;
}

}  // namespace ftd::engine
