#include "worker/engine/loss.h"

#include <ATen/ops/_log_softmax.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>

#include <algorithm>

#include "worker/engine/cpu_kernels.h"
#include "worker/engine/cuda_kernels.h"

namespace ftd::engine {
namespace {

// float32 logits of one chunk, in bytes. Large enough for full speed of the products, small beside
// the model: a GPU reads the head anew for each chunk, which only about a thousand rows hide; and a
// head that is trained has its gradient read and written for each.
int64_t ChunkBytes(const Parameter& head) {
  if (cuda::Serves(head.value.device())) return 512 << 20;
  return head.trainable() ? 256 << 20 : 64 << 20;
}

// Positions whose logits are made at a time.
int64_t ChunkOf(const Parameter& head) {
  const int64_t row_bytes = head.value.size(0) * 4;
  return std::clamp<int64_t>(ChunkBytes(head) / row_bytes, 16, 4096);
}

// Turns logits [S, V] of any dtype into the gradient in the same dtype. The sums stay on the device
// where that has a kernel, so that no chunk waits for the one before: [3] float64, nll, entropy and
// correct.
at::Tensor CrossEntropy(at::Tensor& logits, const at::Tensor& targets) {
  if (cuda::Serves(logits.device())) return cuda::CrossEntropyInPlace(logits, targets);
  const at::ScalarType dtype = logits.scalar_type();
  logits = logits.to(at::kFloat);
  const LossSums sums = cpu::Serves(logits) ? cpu::CrossEntropyInPlace(logits, targets)
                                            : CrossEntropyByAten(logits, targets);
  logits = logits.to(dtype);
  return at::tensor({sums.nll, sums.entropy, static_cast<double>(sums.correct)});
}

LossSums OnHost(const at::Tensor& sums, int64_t positions) {
  const at::Tensor host = sums.cpu();  // waits for the device
  const double* sum = host.const_data_ptr<double>();
  return {sum[0], sum[1], static_cast<int64_t>(sum[2]), positions};
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
  return OnHost(at::stack({nll, entropy, correct}), targets.numel());
}

LossSums CrossEntropySums(const Parameter& head, const at::Tensor& x, const at::Tensor& targets) {
  const int64_t S = x.size(0), chunk = ChunkOf(head);
  at::Tensor sums;
  for (int64_t begin = 0; begin < S; begin += chunk) {
    const int64_t count = std::min(chunk, S - begin);
    at::Tensor logits = at::mm(x.narrow(0, begin, count), head.value.t());
    const at::Tensor chunk_sums = CrossEntropy(logits, targets.narrow(0, begin, count));
    sums = sums.defined() ? sums.add_(chunk_sums) : chunk_sums;
  }
  return S > 0 ? OnHost(sums, S) : LossSums{};
}

LossResult LinearCrossEntropy(Parameter& head, const at::Tensor& x, const at::Tensor& targets,
                              int64_t num_items) {
  const int64_t S = x.size(0), chunk = ChunkOf(head);
  const double scale = 1.0 / static_cast<double>(num_items);
  LossResult result;
  result.dx = at::empty_like(x);
  at::Tensor sums;
  // Several chunks are summed in float32 whatever head.grad is, so that it is rounded once.
  at::Tensor head_sum;
  if (head.trainable() && head.grad.scalar_type() != at::kFloat && S > chunk)
    head_sum = at::empty_like(head.grad, head.grad.options().dtype(at::kFloat));
  for (int64_t begin = 0; begin < S; begin += chunk) {
    const int64_t count = std::min(chunk, S - begin);
    const at::Tensor x_chunk = x.narrow(0, begin, count);
    at::Tensor dlogits = at::mm(x_chunk, head.value.t());
    const at::Tensor chunk_sums = CrossEntropy(dlogits, targets.narrow(0, begin, count));
    sums = sums.defined() ? sums.add_(chunk_sums) : chunk_sums;
    at::Tensor dx_chunk = result.dx.narrow(0, begin, count);
    at::mm_out(dx_chunk, dlogits, head.value);
    dx_chunk.mul_(scale);
    if (head_sum.defined()) {
      AddProduct(head_sum, begin > 0 ? Onto::kSum : Onto::kNothing, dlogits, x_chunk, scale);
    } else if (head.trainable()) {
      AccumulateProduct(head, dlogits, x_chunk, scale);
    }
  }
  if (head_sum.defined()) head.FreshGrad().add_(head_sum);
  if (S > 0) result.sums = OnHost(sums, S);
  return result;
}

}  // namespace ftd::engine
