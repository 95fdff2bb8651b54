#include "worker/engine/ops/attention/softcapped.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/_softmax.h>
#include <ATen/ops/_softmax_backward_data.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros_like.h>

#include "lib/plan/work_sizes.h"
#include "worker/engine/ops/attention/blocks.h"
#include "worker/engine/ops/softcap/softcap.h"

namespace ftd::engine {
namespace {

// Returns queries [N, b, H] as [K, N/K·b, H]: those that read one key head behind each other, so
// that a product with [K, keys, H] serves all of them.
at::Tensor ByKeyHead(const at::Tensor& x, int64_t kv_heads) {
  return x.reshape({kv_heads, -1, x.size(2)});
}

// A block's capped scores and probabilities, both [N, b, keys] in the compute dtype but for the
// probabilities in float32.
struct Scores {
  at::Tensor capped, probabilities;
};

// In 16-bit types each operator rounds as in transformers' eager_attention_forward.
Scores ScoresOf(const at::Tensor& q, const at::Tensor& k, const QueryBlock& block,
                const SoftcapShape& shape) {
  at::Tensor capped = at::bmm(ByKeyHead(q, k.size(0)), k.transpose(1, 2))
                          .mul_(shape.scale)
                          .view({q.size(0), block.queries(), block.keys()});
  SoftcapForward(capped, shape.softcap);
  const at::Tensor masked = capped + BlockMask(block, shape.window, capped.options());
  return {capped, at::_softmax(masked.to(at::kFloat), -1, /*half_to_float=*/false)};
}

}  // namespace

at::Tensor SoftcappedForward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             const SoftcapShape& shape) {
  const int64_t t = q.size(2), kv_heads = k.size(1);
  at::Tensor out = at::empty_like(q);
  for (const QueryBlock& block : QueryBlocks(t, shape.window, kSoftcappedQueries)) {
    const at::Tensor q_block = q[0].narrow(1, block.begin, block.queries());
    const at::Tensor k_block = k[0].narrow(1, block.first_key, block.keys());
    const at::Tensor v_block = v[0].narrow(1, block.first_key, block.keys());
    const Scores scores = ScoresOf(q_block, k_block, block, shape);
    const at::Tensor p = scores.probabilities.to(q.scalar_type());
    out[0]
        .narrow(1, block.begin, block.queries())
        .copy_(at::bmm(ByKeyHead(p, kv_heads), v_block).view(q_block.sizes()));
  }
  return out;
}

// With S = scale · q kᵀ, C = c · tanh(S / c) and P = softmax(C + mask):
//   dv = Pᵀ dout,   dP = dout vᵀ,   dC = P ∘ (dP − Σ_j P_j dP_j),   dS = dC ∘ (1 − (C / c)²)
//   dq = scale · dS k,   dk = scale · dSᵀ q
// summed for dk and dv over the blocks, and over the query heads that share a key head.
SoftcappedGradients SoftcappedBackward(const at::Tensor& q, const at::Tensor& k,
                                       const at::Tensor& v, const SoftcapShape& shape,
                                       const at::Tensor& dout) {
  const int64_t t = q.size(2), kv_heads = k.size(1);
  SoftcappedGradients grad{at::empty_like(q), at::zeros_like(k), at::zeros_like(v)};
  for (const QueryBlock& block : QueryBlocks(t, shape.window, kSoftcappedQueries)) {
    const at::Tensor q_block = q[0].narrow(1, block.begin, block.queries());
    const at::Tensor k_block = k[0].narrow(1, block.first_key, block.keys());
    const at::Tensor v_block = v[0].narrow(1, block.first_key, block.keys());
    const at::Tensor dout_rows =
        ByKeyHead(dout[0].narrow(1, block.begin, block.queries()), kv_heads);
    const Scores scores = ScoresOf(q_block, k_block, block, shape);
    const at::Tensor p = ByKeyHead(scores.probabilities.to(q.scalar_type()), kv_heads);
    const at::Tensor dp = at::bmm(dout_rows, v_block.transpose(1, 2));
    at::Tensor ds = at::_softmax_backward_data(dp.view(scores.capped.sizes()).to(at::kFloat),
                                               scores.probabilities, -1, at::kFloat)
                        .to(q.scalar_type());
    SoftcapBackward(ds, scores.capped, shape.softcap);
    ds = ByKeyHead(ds.mul_(shape.scale), kv_heads);
    grad.q[0]
        .narrow(1, block.begin, block.queries())
        .copy_(at::bmm(ds, k_block).view(q_block.sizes()));
    grad.k[0]
        .narrow(1, block.first_key, block.keys())
        .add_(at::bmm(ds.transpose(1, 2), ByKeyHead(q_block, kv_heads)));
    grad.v[0].narrow(1, block.first_key, block.keys()).add_(at::bmm(p.transpose(1, 2), dout_rows));
  }
  return grad;
}

}  // namespace ftd::engine
