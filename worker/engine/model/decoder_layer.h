// One decoder layer of Llama's kind (Touvron et al. 2023), forward and backward.
//
//   h = x + o_proj(attention(rope(qk_norm(qkv_proj(norm1(x))))))
//   y = h + down_proj(swiglu(gate_up_proj(norm2(h))))
//
// Norm outputs and the SwiGLU product are not kept, since they are cheap to make again: the
// backward pass recomputes them. Legend: T tokens, D model, N heads, K kv heads, H head dim, F ffn.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>

#include "worker/engine/ops/attention/attention.h"
#include "worker/engine/ops/linear/linear.h"
#include "worker/engine/ops/norm/head_norm.h"
#include "worker/engine/ops/norm/norm.h"
#include "worker/engine/ops/rope/rope.h"

namespace ftd::engine {

struct DecoderLayer {
  Parameter input_norm;           // [D]
  LinearLayer qkv;                // [(N+2K)·H, D]
  Parameter query_norm;           // [H], of each head; undefined without
  Parameter key_norm;             // likewise
  LinearLayer o;                  // [D, N·H]
  Parameter post_attention_norm;  // [D]
  LinearLayer gate_up;            // [2F, D]
  LinearLayer down;               // [D, F]
};

// Visits the layer's linear maps in a fixed order: visit(LinearLayer&), const where the layer is.
template <typename Layer, typename Visit>
void ForEachLinear(Layer& layer, const Visit& visit) {
  visit(layer.qkv);
  visit(layer.o);
  visit(layer.gate_up);
  visit(layer.down);
}

// The data that all layers share in one pass over a batch.
struct BatchContext {
  Documents documents;
  RopeTable rope;
  AttentionShape attention;
  double eps = 0;
  double dropout = 0;         // LoRA's
  uint64_t dropout_seed = 0;  // of this micro-batch
};

// Kept from forward to backward.
struct DecoderLayerSaved {
  at::Tensor x;  // [T, D] the layer's input
  NormSaved norm1;
  at::Tensor qkv;  // [T, (N+2K)·H] normed and rotated
  LinearSaved qkv_lora;
  HeadNormSaved query_norm, key_norm;
  AttentionSaved attention;
  LinearSaved o_lora;
  at::Tensor h;  // [T, D]
  NormSaved norm2;
  at::Tensor gate_up;  // [T, 2F]
  LinearSaved gate_up_lora;
  LinearSaved down_lora;
  // Kept only from a layer's recomputation to its backward pass, which follows at once.
  at::Tensor normed1, normed2;  // [T, D]
  at::Tensor product;           // [T, F]
};

// Returns y [T, D] of x [T, D]. `index` is the layer's, for its dropout masks.
at::Tensor DecoderLayerForward(const DecoderLayer& layer, int64_t index,
                               const BatchContext& context, const at::Tensor& x,
                               DecoderLayerSaved* saved);

// Makes everything that the backward pass needs of the forward pass, from saved->x. The last
// projection's output is left out, because it is not needed.
void DecoderLayerRecompute(const DecoderLayer& layer, int64_t index, const BatchContext& context,
                           DecoderLayerSaved* saved);

// Returns dx [T, D] of dy [T, D]; adds to the layer's gradients. Undefined unless `needs_dx`.
at::Tensor DecoderLayerBackward(DecoderLayer& layer, int64_t index, const BatchContext& context,
                                const DecoderLayerSaved& saved, const at::Tensor& dy,
                                bool needs_dx);

}  // namespace ftd::engine
