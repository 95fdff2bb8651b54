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
#include <optional>

#include "worker/engine/device/device.h"
#include "worker/engine/device/kernel_call.h"
#include "worker/engine/ops/attention/blocks.h"
#include "worker/engine/ops/attention/softcapped.h"
#include "worker/engine/ops/rope/rope_cuda.h"

namespace ftd::engine {
namespace {

// Returns one document's part of a flat [T, heads·H] tensor as [1, heads, t, H]; a view.
at::Tensor DocumentHeads(const at::Tensor& flat, int64_t begin, int64_t end, int64_t first_head,
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
  return {DocumentHeads(qkv, begin, end, 0, s.heads, s.head_dim),
          DocumentHeads(qkv, begin, end, s.heads, s.kv_heads, s.head_dim),
          DocumentHeads(qkv, begin, end, s.heads + s.kv_heads, s.kv_heads, s.head_dim)};
}

// Returns whether some query of t tokens does not see all before it.
bool WindowBites(const AttentionShape& shape, int64_t t) {
  return shape.window > 0 && shape.window < t;
}

// Returns softmax(scale · q kᵀ + causal mask) v. Query head n reads key head ⌊n·K/N⌋ (enable_gqa),
// as after transformers' repeat_kv.
at::Tensor Sdpa(const Qkv& x, const AttentionShape& shape) {
  const int64_t t = x.q.size(2);
  std::optional<at::Tensor> mask;
  if (WindowBites(shape, t)) mask = BlockMask({0, t, 0}, shape.window, x.q.options());
  return at::scaled_dot_product_attention(x.q, x.k, x.v, mask, 0.0,
                                          /*is_causal=*/!mask.has_value(), shape.scale,
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
  return qkv.is_cuda() && sixteen_bits && shape.softcap == 0 && shape.head_dim % 8 == 0 &&
         shape.head_dim <= 256 && DeviceHasFlashAttention();
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

// Returns the queries of qkv as [T, N, H]; a view.
at::Tensor Queries(const at::Tensor& qkv, const AttentionShape& s) {
  return qkv.narrow(1, 0, s.heads * s.head_dim).view({qkv.size(0), s.heads, s.head_dim});
}

// Takes the gradients of rotated queries and keys to those before the rotation; values are left
// alone.
void RotateBackInPlace(const at::Tensor& dqkv, const AttentionShape& s, const Rotation& rotation) {
  if (rotation.query_scale.defined()) Queries(dqkv, s).mul_(rotation.query_scale);
  if (rotation.rope.cos.defined())
    ApplyRope(QueriesAndKeys(dqkv, s), rotation.rope, /*backward=*/true);
}

// The varlen kernel's windows: how many tokens before and after a query it sees.
std::optional<int64_t> WindowLeft(const AttentionShape& shape) {
  if (shape.window == 0) return std::nullopt;
  return shape.window - 1;
}
std::optional<int64_t> WindowRight(const AttentionShape& shape) {
  if (shape.window == 0) return std::nullopt;
  return 0;
}

// cu_seqlens bounds the documents, so one launch computes all of them and no score of two documents
// is ever made. lse [N, T] float32 is the log of each row's softmax denominator: the backward pass
// makes the probabilities again from it, in place of keeping Σ t² of them.
at::Tensor VarlenForward(const at::Tensor& qkv, const Documents& documents,
                         const AttentionShape& shape, AttentionSaved* saved) {
  const Qkv x = SplitFlat(qkv, shape);
  auto [out, lse, rng_state, unused, mask] = at::_flash_attention_forward(
      x.q, x.k, x.v, documents.cu_seqlens, documents.cu_seqlens, documents.longest,
      documents.longest, 0.0, /*is_causal=*/true, /*return_debug_mask=*/false, shape.scale,
      WindowLeft(shape), WindowRight(shape));
  saved->lse = {lse};
  saved->rng_state = rng_state;
  saved->unused = unused;
  saved->out = out.view({qkv.size(0), shape.heads * shape.head_dim});
  return saved->out;
}

at::Tensor VarlenBackward(const at::Tensor& qkv, const Documents& documents,
                          const AttentionShape& shape, const Rotation& rotation,
                          const AttentionSaved& saved, const at::Tensor& dout) {
  const Qkv x = SplitFlat(qkv, shape);
  const auto heads = [&](const at::Tensor& flat) {
    return flat.view({qkv.size(0), shape.heads, shape.head_dim});
  };
  const auto [dq, dk, dv] = at::_flash_attention_backward(
      heads(dout), x.q, x.k, x.v, heads(saved.out), saved.lse[0], documents.cu_seqlens,
      documents.cu_seqlens, documents.longest, documents.longest, 0.0, /*is_causal=*/true,
      saved.rng_state, saved.unused, shape.scale, WindowLeft(shape), WindowRight(shape));
  if (rotation.query_scale.defined()) dq.mul_(rotation.query_scale);
  // The kernel returns three tensors. Ours rotates and gathers them in a single pass.
  if (cuda::Serves(qkv.device()) && rotation.rope.cos.defined())
    return cuda::RotateBack(dq.contiguous(), dk.contiguous(), dv.contiguous(), rotation.rope);
  // Without it: three copies into slices, then the rotation in place.
  at::Tensor dqkv = at::empty_like(qkv);
  Qkv target = SplitFlat(dqkv, shape);
  target.q.copy_(dq);
  target.k.copy_(dk);
  target.v.copy_(dv);
  RotateBackInPlace(dqkv, shape, {rotation.rope, {}});
  return dqkv;
}

// One document on the CPU. The fused kernel makes the scores tile by tile; its lse [1, N, queries],
// appended to `lse`, is all that the backward pass needs of them. With a window that bites it takes
// blocks of queries with the keys that they see.
constexpr int64_t kWindowBlock = 256;  // queries

std::vector<QueryBlock> CpuBlocks(const AttentionShape& shape, int64_t t) {
  if (WindowBites(shape, t)) return QueryBlocks(t, shape.window, kWindowBlock);
  return {{0, t, 0}};
}

// Returns a block's part of a document's queries, keys and values; views.
Qkv BlockOf(const Qkv& x, const QueryBlock& block) {
  return {x.q.narrow(2, block.begin, block.queries()), x.k.narrow(2, block.first_key, block.keys()),
          x.v.narrow(2, block.first_key, block.keys())};
}

std::optional<at::Tensor> MaskOf(const AttentionShape& shape, const QueryBlock& block,
                                 const Qkv& x) {
  if (!WindowBites(shape, x.q.size(2))) return std::nullopt;
  return BlockMask(block, shape.window, x.q.options());
}

void CpuForward(const Qkv& x, const AttentionShape& shape, at::Tensor& out,
                std::vector<at::Tensor>* lse) {
  for (const QueryBlock& block : CpuBlocks(shape, x.q.size(2))) {
    const Qkv part = BlockOf(x, block);
    const auto mask = MaskOf(shape, block, x);
    auto [o, block_lse] = at::_scaled_dot_product_flash_attention_for_cpu(
        part.q, part.k, part.v, 0.0, /*is_causal=*/!mask.has_value(), mask, shape.scale);
    out.narrow(2, block.begin, block.queries()).copy_(o);
    lse->push_back(block_lse);
  }
}

// Writes the gradients to `grad`; `lse` points at the document's first and is moved past its last.
void CpuBackward(const Qkv& x, const AttentionShape& shape, const at::Tensor& out,
                 const at::Tensor& dout, const at::Tensor*& lse, Qkv& grad) {
  const std::vector<QueryBlock> blocks = CpuBlocks(shape, x.q.size(2));
  if (blocks.size() > 1) {
    grad.k.zero_();
    grad.v.zero_();
  }
  for (const QueryBlock& block : blocks) {
    const Qkv part = BlockOf(x, block), target = BlockOf(grad, block);
    const auto mask = MaskOf(shape, block, x);
    const auto [dq, dk, dv] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
        dout.narrow(2, block.begin, block.queries()), part.q, part.k, part.v,
        out.narrow(2, block.begin, block.queries()), *lse++, 0.0, /*is_causal=*/!mask.has_value(),
        mask, shape.scale);
    target.q.copy_(dq);
    if (blocks.size() > 1) {
      target.k.add_(dk);
      target.v.add_(dv);
    } else {
      target.k.copy_(dk);
      target.v.copy_(dv);
    }
  }
}

SoftcapShape SoftcapOf(const AttentionShape& shape) {
  return {shape.scale, shape.softcap, shape.window};
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
                          const Rotation& rotation) {
  if (rotation.rope.cos.defined())
    ApplyRope(QueriesAndKeys(qkv, shape), rotation.rope, /*backward=*/false);
  if (rotation.query_scale.defined()) Queries(qkv, shape).mul_(rotation.query_scale);
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
    at::Tensor out_heads =
        DocumentHeads(out, offsets[d], offsets[d + 1], 0, shape.heads, shape.head_dim);
    if (shape.softcap > 0) {
      out_heads.copy_(SoftcappedForward(x.q, x.k, x.v, SoftcapOf(shape)));
    } else if (qkv.is_cpu()) {
      CpuForward(x, shape, out_heads, &saved->lse);
    } else {
      out_heads.copy_(Sdpa(x, shape));
    }
  }
  saved->out = out;
  return out;
}

// With P = softmax(scale · q kᵀ + mask) and D_i = Σ_h dout_ih out_ih for each row i:
//   dv = Pᵀ dout,   dS = P ∘ (dout vᵀ − D),   dq = scale · dS k,   dk = scale · dSᵀ q
// summed for dk and dv over the N/K query heads that share a key head. `qkv` is rotated, so these
// are the gradients of rotated queries and keys; the rotation is undone last, over the whole batch.
at::Tensor AttentionBackward(const at::Tensor& qkv, const Documents& documents,
                             const AttentionShape& shape, const Rotation& rotation,
                             const AttentionSaved& saved, const at::Tensor& dout) {
  if (TakenByVarlen(qkv, shape))
    return VarlenBackward(qkv, documents, shape, rotation, saved, dout);
  const std::vector<int64_t>& offsets = documents.offsets;
  const at::Tensor* lse = saved.lse.data();
  at::Tensor dqkv = at::empty_like(qkv);
  for (size_t d = 0; d + 1 < offsets.size(); ++d) {
    const Qkv x = Split(qkv, offsets[d], offsets[d + 1], shape);
    const auto heads = [&](const at::Tensor& flat) {
      return DocumentHeads(flat, offsets[d], offsets[d + 1], 0, shape.heads, shape.head_dim);
    };
    Qkv target = Split(dqkv, offsets[d], offsets[d + 1], shape);
    if (shape.softcap == 0 && qkv.is_cpu()) {
      CpuBackward(x, shape, heads(saved.out), heads(dout), lse, target);
      continue;
    }
    Qkv grad;
    if (shape.softcap > 0) {
      auto [q, k, v] = SoftcappedBackward(x.q, x.k, x.v, SoftcapOf(shape), heads(dout));
      grad = {q, k, v};
    } else {
      grad = BackwardByAutograd(x, shape, heads(dout));
    }
    target.q.copy_(grad.q);
    target.k.copy_(grad.k);
    target.v.copy_(grad.v);
  }
  RotateBackInPlace(dqkv, shape, rotation);
  return dqkv;
}

}  // namespace ftd::engine
