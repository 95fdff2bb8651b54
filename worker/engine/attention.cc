#include "worker/engine/attention.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include <cmath>

namespace ftd::engine {
namespace {

// One document's part of a flat [T, heads·H] tensor as [1, heads, t, H]; a view.
at::Tensor Heads(const at::Tensor& flat, int64_t begin, int64_t end, int64_t first_head,
                 int64_t heads, int64_t H) {
  return flat.narrow(0, begin, end - begin)
      .narrow(1, first_head * H, heads * H)
      .view({end - begin, heads, H})
      .permute({1, 0, 2})
      .unsqueeze(0);
}

struct Qkv {
  at::Tensor q, k, v;
};

Qkv Split(const at::Tensor& qkv, int64_t begin, int64_t end, const AttentionShape& s) {
  return {Heads(qkv, begin, end, 0, s.heads, s.head_dim),
          Heads(qkv, begin, end, s.heads, s.kv_heads, s.head_dim),
          Heads(qkv, begin, end, s.heads + s.kv_heads, s.kv_heads, s.head_dim)};
}

double Scale(const AttentionShape& shape) {
  return 1.0 / std::sqrt(static_cast<double>(shape.head_dim));
}

at::Tensor Sdpa(const Qkv& x, const AttentionShape& shape) {
  return at::scaled_dot_product_attention(x.q, x.k, x.v, {}, 0.0, /*is_causal=*/true, Scale(shape),
                                          /*enable_gqa=*/shape.heads != shape.kv_heads);
}

// Any device: recomputes the document under autograd, which picks the device's own fused kernel.
Qkv BackwardByAutograd(const Qkv& x, const AttentionShape& shape, const at::Tensor& dout) {
  at::AutoGradMode on(true);
  Qkv leaf{x.q.detach(), x.k.detach(), x.v.detach()};
  for (at::Tensor* t : {&leaf.q, &leaf.k, &leaf.v}) t->requires_grad_();
  Sdpa(leaf, shape).backward(dout);
  return {leaf.q.grad(), leaf.k.grad(), leaf.v.grad()};
}

}  // namespace

at::Tensor AttentionForward(const at::Tensor& qkv, const std::vector<int64_t>& offsets,
                            const AttentionShape& shape, AttentionSaved* saved) {
  at::Tensor out = at::empty({qkv.size(0), shape.heads * shape.head_dim}, qkv.options());
  saved->lse.clear();
  for (size_t d = 0; d + 1 < offsets.size(); ++d) {
    const Qkv x = Split(qkv, offsets[d], offsets[d + 1], shape);
    at::Tensor out_heads = Heads(out, offsets[d], offsets[d + 1], 0, shape.heads, shape.head_dim);
    if (!qkv.is_cpu()) {
      out_heads.copy_(Sdpa(x, shape));
      continue;
    }
    auto [o, lse] = at::_scaled_dot_product_flash_attention_for_cpu(
        x.q, x.k, x.v, 0.0, /*is_causal=*/true, {}, Scale(shape));
    out_heads.copy_(o);
    saved->lse.push_back(lse);
  }
  saved->out = out;
  return out;
}

at::Tensor AttentionBackward(const at::Tensor& qkv, const std::vector<int64_t>& offsets,
                             const AttentionShape& shape, const AttentionSaved& saved,
                             const at::Tensor& dout) {
  at::Tensor dqkv = at::empty_like(qkv);
  for (size_t d = 0; d + 1 < offsets.size(); ++d) {
    const Qkv x = Split(qkv, offsets[d], offsets[d + 1], shape);
    const at::Tensor dout_heads =
        Heads(dout, offsets[d], offsets[d + 1], 0, shape.heads, shape.head_dim);
    Qkv grad;
    if (qkv.is_cpu()) {
      const at::Tensor out_heads =
          Heads(saved.out, offsets[d], offsets[d + 1], 0, shape.heads, shape.head_dim);
      std::tie(grad.q, grad.k, grad.v) = at::_scaled_dot_product_flash_attention_for_cpu_backward(
          dout_heads, x.q, x.k, x.v, out_heads, saved.lse[d], 0.0, /*is_causal=*/true, {},
          Scale(shape));
    } else {
      grad = BackwardByAutograd(x, shape, dout_heads);
    }
    Qkv target = Split(dqkv, offsets[d], offsets[d + 1], shape);
    target.q.copy_(grad.q);
    target.k.copy_(grad.k);
    target.v.copy_(grad.v);
  }
  return dqkv;
}

}  // namespace ftd::engine
