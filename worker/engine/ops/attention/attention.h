// Causal self-attention over a flat batch of documents: no document sees another, no padding
// exists. Within a window where the layer has one, and with capped scores where the model has them.
//
// Legend: T tokens of the whole batch, t tokens of one document, N heads, K kv heads, H head dim.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "worker/engine/ops/rope/rope.h"

namespace ftd::engine {

// The places of the documents in a flat batch.
struct Documents {
  std::vector<int64_t> offsets;  // documents + 1, from 0 to T
  at::Tensor cu_seqlens;         // the same, int32, on a GPU; undefined on the CPU
  int64_t longest = 0;           // tokens
};

Documents MakeDocuments(std::vector<int64_t> offsets, at::Tensor cu_seqlens = {});

// Kept for the backward pass.
struct AttentionSaved {
  at::Tensor out;  // [T, N·H]
  std::vector<at::Tensor>
      lse;  // per block of queries on the CPU; of all at once by the GPU's varlen kernel
  at::Tensor rng_state, unused;  // the varlen kernel's own
};

struct AttentionShape {
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
  double scale = 0;    // of q kᵀ
  double softcap = 0;  // 0: none
  int64_t window = 0;  // tokens that a query sees, its own included; 0: all before it
};

// What positions do to queries and keys: the rotation of both, and a factor of the queries.
// Undefined: nothing.
struct Rotation {
  RopeTable rope;
  at::Tensor query_scale;  // [T, 1, 1] of the compute dtype
};

// Rotates the queries and keys of qkv [T, (N+2K)·H] in place.
void RotateQueriesAndKeys(const at::Tensor& qkv, const AttentionShape& shape,
                          const Rotation& rotation);

// Returns out [T, N·H] of qkv [T, (N+2K)·H], rotated already. On a GPU, 16-bit types go through one
// varlen flash kernel (Dao 2023) for the whole batch; float32 and capped scores go document by
// document.
at::Tensor AttentionForward(const at::Tensor& qkv, const Documents& documents,
                            const AttentionShape& shape, AttentionSaved* saved);

// Returns the gradient [T, (N+2K)·H] of qkv before its rotation, from qkv after it and dout [T,
// N·H].
at::Tensor AttentionBackward(const at::Tensor& qkv, const Documents& documents,
                             const AttentionShape& shape, const Rotation& rotation,
                             const AttentionSaved& saved, const at::Tensor& dout);

}  // namespace ftd::engine
