#include "worker/engine/ops/attention/attention.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_flash_attention_backward.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include <algorithm>
#include <cmath>

#include "worker/engine/device/device.h"
#include "worker/engine/device/kernel_call.h"
#include "worker/engine/ops/rope/rope_cuda.h"

namespace ftd::engine {
namespace {

// Returns one document's part of a flat [T, heads·H] tensor as [1, heads, t, H]; a view.
at::Tensor Heads(const at::Tensor& flat, int64_t begin, int64_t end, int64_t first_head,
                 int64_t heads, int64_t H) {
  return flat.narrow(0, begin, end - begin)
      .narrow(1, first_head * H, heads * H)
      .view({end - begin, heads, H})
      .permute({1, 0, 2})
      .unsqueeze(0);
}

// Queries, keys and values, or their gradients; usually views of one tensor.
struct Qkv {
  at::Tensor q, k, v;
};

// Returns one document's part of qkv, in which a token's N query heads come first, then K key
// heads, then K value heads.
Qkv Split(const at::Tensor& qkv, int64_t begin, int64_t end, const AttentionShape& s) {
  return {Heads(qkv, begin, end, 0, s.heads, s.head_dim),
          Heads(qkv, begin, end, s.heads, s.kv_heads, s.head_dim),
          Heads(qkv, begin, end, s.heads + s.kv_heads, s.kv_heads, s.head_dim)};
}

// Returns 1/√H, transformers' head_dim ** -0.5.
double Scale(const AttentionShape& shape) {
  return 1.0 / std::sqrt(static_cast<double>(shape.head_dim));
}

// Returns softmax(scale · q kᵀ + causal mask) v. Query head n reads key head ⌊n·K/N⌋ (enable_gqa),
// as after transformers' repeat_kv.
at::Tensor Sdpa(const Qkv& x, const AttentionShape& shape) {
  return at::scaled_dot_product_attention(x.q, x.k, x.v, {}, 0.0, /*is_causal=*/true, Scale(shape),
                                          /*enable_gqa=*/shape.heads != shape.kv_heads);
}

// Recomputes the document under autograd, which picks the kernel: for a GPU in float32. Nothing but
// `out` was kept, so the scores are made twice.
Qkv BackwardByAutograd(const Qkv& x, const AttentionShape& shape, const at::Tensor& dout) {
  at::AutoGradMode on(true);
  Qkv leaf{x.q.detach(), x.k.detach(), x.v.detach()};
  for (at::Tensor* t : {&leaf.q, &leaf.k, &leaf.v}) t->requires_grad_();
  Sdpa(leaf, shape).backward(dout);
  return {leaf.q.grad(), leaf.k.grad(), leaf.v.grad()};
}

// Returns whether ATen's flash kernels take such tensors. They need Ampere or newer, 16-bit types,
// and heads of whole vectors of 8 elements, at most 256 long.
bool TakenByVarlen(const at::Tensor& qkv, const AttentionShape& shape) {
  const bool sixteen_bits = qkv.scalar_type() == at::kBFloat16 || qkv.scalar_type() == at::kHalf;
  return qkv.is_cuda() && sixteen_bits && shape.head_dim % 8 == 0 && shape.head_dim <= 256 &&
         DeviceHasFlashAttention();
}

// Returns the whole batch's q, k and v of a flat [T, (N+2K)·H] tensor as [T, heads, H]; views.
Qkv SplitFlat(const at::Tensor& qkv, const AttentionShape& s) {
  const auto part = [&](int64_t first_head, int64_t heads) {
    return qkv.narrow(1, first_head * s.head_dim, heads * s.head_dim)
        .view({qkv.size(0), heads, s.head_dim});
  };
  return {part(0, s.heads), part(s.heads, s.kv_heads), part(s.heads + s.kv_heads, s.kv_heads)};
}

// Returns queries and keys of qkv as [T, N+K, H]; a view.
at::Tensor QueriesAndKeys(const at::Tensor& qkv, const AttentionShape& s) {
  const int64_t heads = s.heads + s.kv_heads;
  return qkv.narrow(1, 0, heads * s.head_dim).view({qkv.size(0), heads, s.head_dim});
}

// Takes the gradients of rotated queries and keys to those before the rotation; values are left
// alone.
void RotateBackInPlace(const at::Tensor& dqkv, const AttentionShape& s, const RopeTable& rope) {
  ApplyRope(QueriesAndKeys(dqkv, s), rope, /*backward=*/true);
}

// cu_seqlens bounds the documents, so one launch computes all of them and no score of two documents
// is ever made. lse [N, T] float32 is the log of each row's softmax denominator: the backward pass
// makes the probabilities again from it, in place of keeping Σ t² of them.
at::Tensor VarlenForward(const at::Tensor& qkv, const Documents& documents,
                         const AttentionShape& shape, AttentionSaved* saved) {
  const Qkv x = SplitFlat(qkv, shape);
  auto [out, lse, rng_state, unused, mask] = at::_flash_attention_forward(
      x.q, x.k, x.v, documents.cu_seqlens, documents.cu_seqlens, documents.longest,
      documents.longest, 0.0, /*is_causal=*/true, /*return_debug_mask=*/false, Scale(shape));
  saved->lse = {lse};
  saved->rng_state = rng_state;
  saved->unused = unused;
  saved->out = out.view({qkv.size(0), shape.heads * shape.head_dim});
  return saved->out;
}

at::Tensor VarlenBackward(const at::Tensor& qkv, const Documents& documents,
                          const AttentionShape& shape, const RopeTable& rope,
                          const AttentionSaved& saved, const at::Tensor& dout) {
  const Qkv x = SplitFlat(qkv, shape);
  const auto heads = [&](const at::Tensor& flat) {
    return flat.view({qkv.size(0), shape.heads, shape.head_dim});
  };
  const auto [dq, dk, dv] = at::_flash_attention_backward(
      heads(dout), x.q, x.k, x.v, heads(saved.out), saved.lse[0], documents.cu_seqlens,
      documents.cu_seqlens, documents.longest, documents.longest, 0.0, /*is_causal=*/true,
      saved.rng_state, saved.unused, Scale(shape));
  // The kernel returns three tensors. Ours rotates and gathers them in a single pass.
  if (cuda::Serves(qkv.device()))
    return cuda::RotateBack(dq.contiguous(), dk.contiguous(), dv.contiguous(), rope.cos, rope.sin);
  // Without it: three copies into slices, then the rotation in place.
  at::Tensor dqkv = at::empty_like(qkv);
  Qkv target = SplitFlat(dqkv, shape);
  target.q.copy_(dq);
  target.k.copy_(dk);
  target.v.copy_(dv);
  RotateBackInPlace(dqkv, shape, rope);
  return dqkv;
}

}  // namespace

Documents MakeDocuments(std::vector<int64_t> offsets, at::Tensor cu_seqlens) {
  Documents documents{std::move(offsets), std::move(cu_seqlens), 0};
  for (size_t d = 0; d + 1 < documents.offsets.size(); ++d) {
    documents.longest =
        std::max(documents.longest, documents.offsets[d + 1] - documents.offsets[d]);
  }
  return documents;
}

void RotateQueriesAndKeys(const at::Tensor& qkv, const AttentionShape& shape,
                          const RopeTable& rope) {
  ApplyRope(QueriesAndKeys(qkv, shape), rope, /*backward=*/false);
}

at::Tensor AttentionForward(const at::Tensor& qkv, const Documents& documents,
                            const AttentionShape& shape, AttentionSaved* saved) {
  if (TakenByVarlen(qkv, shape)) return VarlenForward(qkv, documents, shape, saved);
  // Document by document: the work is Σ t² and not T², and no mask is needed beyond the causal one.
  const std::vector<int64_t>& offsets = documents.offsets;
  at::Tensor out = at::empty({qkv.size(0), shape.heads * shape.head_dim}, qkv.options());
  saved->lse.clear();
  for (size_t d = 0; d + 1 < offsets.size(); ++d) {
    const Qkv x = Split(qkv, offsets[d], offsets[d + 1], shape);
    at::Tensor out_heads = Heads(out, offsets[d], offsets[d + 1], 0, shape.heads, shape.head_dim);
    if (!qkv.is_cpu()) {
      out_heads.copy_(Sdpa(x, shape));
      continue;
    }
    // The CPU's fused kernel makes the scores tile by tile; its lse [1, N, t] is all that the
    // backward pass needs of them.
    auto [o, lse] = at::_scaled_dot_product_flash_attention_for_cpu(
        x.q, x.k, x.v, 0.0, /*is_causal=*/true, {}, Scale(shape));
    out_heads.copy_(o);
    saved->lse.push_back(lse);
  }
  saved->out = out;
  return out;
}

// With P = softmax(scale · q kᵀ + mask) and D_i = Σ_h dout_ih out_ih for each row i:
//   dv = Pᵀ dout,   dS = P ∘ (dout vᵀ − D),   dq = scale · dS k,   dk = scale · dSᵀ q
// summed for dk and dv over the N/K query heads that share a key head. `qkv` is rotated, so these
// are the gradients of rotated queries and keys; the rotation is undone last, over the whole batch.
at::Tensor AttentionBackward(const at::Tensor& qkv, const Documents& documents,
                             const AttentionShape& shape, const RopeTable& rope,
                             const AttentionSaved& saved, const at::Tensor& dout) {
  if (TakenByVarlen(qkv, shape)) return VarlenBackward(qkv, documents, shape, rope, saved, dout);
  const std::vector<int64_t>& offsets = documents.offsets;
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
  RotateBackInPlace(dqkv, shape, rope);
  return dqkv;
}

}  // namespace ftd::engine
