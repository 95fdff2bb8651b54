#include "worker/engine/ops/loss/loss.h"
#include "worker/engine/device/cpu_rows.h"
#include "worker/engine/device/kernel_call.h"
#include "worker/engine/ops/loss/loss_cpu.h"
#include "worker/engine/ops/loss/loss_cuda.h"

#include <ATen/ops/_log_softmax.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

namespace ftd::engine {
namespace {

constexpr int64_t kTile = 128;  // rows of a matrix product that a GPU computes together

// Positions whose logits are made at a time.
int64_t ChunkOf(const Parameter& head) {
  return LossChunk(head.value.size(0), head.trainable(), cuda::Serves(head.value.device()));
}

// Turns logits [S, V] of any dtype into the gradient in the same dtype.
DeviceSums CrossEntropy(at::Tensor& logits, const at::Tensor& targets) {
  if (cuda::Serves(logits.device())) return cuda::CrossEntropyInPlace(logits, targets);
  const at::ScalarType dtype = logits.scalar_type();
  logits = logits.to(at::kFloat);
  const DeviceSums sums = cpu::Serves(logits) ? cpu::CrossEntropyInPlace(logits, targets)
                                              : CrossEntropyByAten(logits, targets);
  logits = logits.to(dtype);
  return sums;
}

// Sums of no positions.
DeviceSums NoSums(const at::Tensor& x) { return at::zeros({3}, x.options().dtype(at::kDouble)); }

}  // namespace

int64_t LossChunk(int64_t vocabulary, bool trained_head, bool on_gpu) {
  // float32 logits of one chunk, in bytes. Large enough for full speed of the products, small
  // beside the model: a GPU reads the head again for each chunk, which only about a thousand rows
  // hide; and a head that is trained has its gradient read and written for each.
  const int64_t bytes = on_gpu ? 512 << 20 : trained_head ? 256 << 20 : 64 << 20;
  const int64_t rows = std::clamp<int64_t>(bytes / (vocabulary * 4), 16, 4096);
  return on_gpu && rows > kTile ? rows / kTile * kTile : rows;
}

LossSums OnHost(const DeviceSums& sums, int64_t positions) {
  const double* sum = sums.const_data_ptr<double>();
  return {sum[0], sum[1], static_cast<int64_t>(sum[2]), positions};
}

DeviceSums CrossEntropyByAten(at::Tensor& logits, const at::Tensor& targets) {
  const at::Tensor column = targets.unsqueeze(1);
  const at::Tensor correct = logits.argmax(1).eq(targets).sum(at::kDouble);
  at::_log_softmax_out(logits, logits, 1, /*half_to_float=*/false);
  const at::Tensor nll = logits.gather(1, column).sum(at::kDouble).neg();
  const at::Tensor p = logits.exp();
  const at::Tensor entropy = logits.mul_(p).sum(at::kDouble).neg();
  logits = p.scatter_add(1, column, at::full(column.sizes(), -1.0, p.options()));
  return at::stack({nll, entropy, correct});
}

DeviceSums CrossEntropySums(const Parameter& head, const at::Tensor& x, const at::Tensor& targets) {
  const int64_t S = x.size(0), chunk = ChunkOf(head);
  DeviceSums sums;
  for (int64_t begin = 0; begin < S; begin += chunk) {
    const int64_t count = std::min(chunk, S - begin);
    at::Tensor logits = at::mm(x.narrow(0, begin, count), head.value.t());
    const DeviceSums chunk_sums = CrossEntropy(logits, targets.narrow(0, begin, count));
    sums = sums.defined() ? sums.add_(chunk_sums) : chunk_sums;
  }
  return sums.defined() ? sums : NoSums(x);
}

LossResult LinearCrossEntropy(Parameter& head, const at::Tensor& x, const at::Tensor& targets,
                              int64_t num_items) {
  const int64_t S = x.size(0), chunk = ChunkOf(head);
  const double scale = 1.0 / static_cast<double>(num_items);
  LossResult result;
  result.dx = at::empty_like(x);
  // Several chunks are summed in float32 whatever head.grad is, so that it is rounded once.
  at::Tensor head_sum;
  if (head.trainable() && head.grad.scalar_type() != at::kFloat && S > chunk)
    head_sum = at::empty_like(head.grad, head.grad.options().dtype(at::kFloat));
  for (int64_t begin = 0; begin < S; begin += chunk) {
    const int64_t count = std::min(chunk, S - begin);
    const at::Tensor x_chunk = x.narrow(0, begin, count);
    at::Tensor dlogits = at::mm(x_chunk, head.value.t());
    const DeviceSums chunk_sums = CrossEntropy(dlogits, targets.narrow(0, begin, count));
    result.sums = result.sums.defined() ? result.sums.add_(chunk_sums) : chunk_sums;
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
  if (!result.sums.defined()) result.sums = NoSums(x);
  return result;
}

}  // namespace ftd::engine
