#include "worker/engine/ops/loss/loss.h"

#include "lib/plan/work_sizes.h"
#include "worker/engine/device/cpu_rows.h"
#include "worker/engine/device/kernel_call.h"
#include "worker/engine/ops/loss/loss_cpu.h"
#include "worker/engine/ops/loss/loss_cuda.h"
#include "worker/engine/ops/softcap/softcap.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/_log_softmax.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

namespace ftd::engine {
namespace {

// Returns how many positions' logits are made at a time.
int64_t ChunkOf(const Parameter& head) {
  return LossChunk(head.value.size(0), head.trainable(), cuda::Serves(head.value.device()));
}

// Turns logits [S, V] of any dtype into the gradient in the same dtype, label smoothing included;
// sums the losses without it. Off the kernel, 16-bit logits go through a float32 copy, as
// transformers' ForCausalLMLoss has logits.float(); it is [chunk, V].
DeviceSums HardCrossEntropy(at::Tensor& logits, const at::Tensor& targets, double smoothing) {
  if (cuda::Serves(logits.device())) return cuda::CrossEntropyInPlace(logits, targets, smoothing);
  const at::ScalarType dtype = logits.scalar_type();
  logits = logits.to(at::kFloat);
  DeviceSums sums = cpu::Serves(logits) ? cpu::CrossEntropyInPlace(logits, targets, smoothing)
                                        : CrossEntropyByAten(logits, targets, smoothing);
  logits = logits.to(dtype);
  return sums;
}

// Turns logits [S, V] of any dtype into the gradient in the same dtype. With z the logits, y the
// target and L = log Σ e^z, label smoothing makes the loss
//   (1 − ε)(L − z_y) + ε(L − mean z) = (L − z_y) + ε(z_y − mean z),
// so that the kernels need not know of it but for their gradient.
DeviceSums CrossEntropy(at::Tensor& logits, const at::Tensor& targets, double smoothing) {
  if (smoothing == 0) return HardCrossEntropy(logits, targets, 0);
  const at::Tensor at_target = logits.gather(1, targets.unsqueeze(1)).sum(at::kDouble);
  const at::Tensor means = logits.mean({1}, /*keepdim=*/false, at::kFloat).sum(at::kDouble);
  DeviceSums sums = HardCrossEntropy(logits, targets, smoothing);
  sums[0].add_(at_target.sub_(means), smoothing);
  return sums;
}

// The same of the head's products: the gradient is theirs. Autograd's steps, from the last to the
// first; a cap needs the logits that it made a second time.
DeviceSums ShapedCrossEntropy(at::Tensor& products, const LogitsShape& shape,
                              const at::Tensor& targets, double smoothing) {
  ShapeLogits(products, shape);
  const at::Tensor capped = shape.softcap > 0 ? products.clone() : at::Tensor();
  DeviceSums sums = CrossEntropy(products, targets, smoothing);
  if (shape.softcap > 0) SoftcapBackward(products, capped, shape.softcap);
  if (shape.divisor != 1) products.div_(shape.divisor);
  return sums;
}

// Returns the sums of no positions.
DeviceSums NoSums(const at::Tensor& x) { return at::zeros({3}, x.options().dtype(at::kDouble)); }

}  // namespace

LossSums OnHost(const DeviceSums& sums, int64_t positions) {
  const double* sum = sums.const_data_ptr<double>();
  return {sum[0], sum[1], static_cast<int64_t>(sum[2]), positions};
}

DeviceSums CrossEntropyByAten(at::Tensor& logits, const at::Tensor& targets, double smoothing) {
  const SmoothedTarget q(smoothing, logits.size(1));
  const at::Tensor column = targets.unsqueeze(1);
  // argmax gives the first of equals. It reads the logits, which the next line overwrites.
  const at::Tensor correct = logits.argmax(1).eq(targets).sum(at::kDouble);
  at::_log_softmax_out(logits, logits, 1, /*half_to_float=*/false);
  const at::Tensor nll = logits.gather(1, column).sum(at::kDouble).neg();
  // H = −Σ p log p, for TRL's entropy metric.
  const at::Tensor p = logits.exp();
  const at::Tensor entropy = logits.mul_(p).sum(at::kDouble).neg();
  // ∂loss/∂z = softmax(z) − q.
  logits = p.scatter_add(1, column, at::full(column.sizes(), -q.at_target, p.options()));
  if (smoothing > 0) logits.sub_(q.everywhere);
  return at::stack({nll, entropy, correct});
}

void ShapeLogits(at::Tensor& products, const LogitsShape& shape) {
  if (shape.divisor != 1) products.div_(shape.divisor);
  if (shape.softcap > 0) SoftcapForward(products, shape.softcap);
}

DeviceSums CrossEntropySums(const Parameter& head, const at::Tensor& x, const at::Tensor& targets,
                            double smoothing, const LogitsShape& shape) {
  const int64_t S = x.size(0), chunk = ChunkOf(head);
  DeviceSums sums;
  for (int64_t begin = 0; begin < S; begin += chunk) {
    const int64_t count = std::min(chunk, S - begin);
    at::Tensor logits = at::mm(x.narrow(0, begin, count), head.value.t());
    ShapeLogits(logits, shape);
    const DeviceSums chunk_sums = CrossEntropy(logits, targets.narrow(0, begin, count), smoothing);
    sums = sums.defined() ? sums.add_(chunk_sums) : chunk_sums;
  }
  return sums.defined() ? sums : NoSums(x);
}

// Chunk by chunk, with n = num_items:
//   Z  = x Wᵀ                    [chunk, V]; the logits are made of it as `shape` says
//   G  = softmax(Z) − q          in place of Z
//   dx = 1/n · G W               [chunk, D]
//   dW = dW + 1/n · Gᵀ x         [V, D], if the head trains
// 1/n is applied after the products: to [chunk, D] numbers, and as the factor of the sum onto dW,
// rather than to [chunk, V]. Loss and gradient are those of transformers' sum over the labels,
// divided by num_items_in_batch.
LossResult LinearCrossEntropy(Parameter& head, const at::Tensor& x, const at::Tensor& targets,
                              int64_t num_items, double smoothing, const LogitsShape& shape) {
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
    const DeviceSums chunk_sums =
        ShapedCrossEntropy(dlogits, shape, targets.narrow(0, begin, count), smoothing);
    result.sums = result.sums.defined() ? result.sums.add_(chunk_sums) : chunk_sums;
    at::Tensor dx_chunk = result.dx.narrow(0, begin, count);
    at::mm_out(dx_chunk, dlogits, head.value);
    dx_chunk.mul_(scale);
    // AddProduct overwrites a sum that holds nothing yet, so head_sum needs no zeros.
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
