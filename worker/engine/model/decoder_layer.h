// One decoder layer, forward and backward: what Llama's has (Touvron et al. 2023), and what other
// families have besides or instead.
//
//   h = x + m · norm_ao(o_proj(mix(qkv_proj(norm_ai(x)))))
//   y = h + m · norm_mo(down_proj(glu(gate_up_proj(norm_mi(h)))))
//
// Llama has norm_ai and norm_mi, and m = 1; it mixes by attention (mixer.h). Norm outputs and the
// gated unit's product are not kept, since they are cheap to make again: the backward pass
// recomputes them. Legend: T tokens, D model, N heads, K kv heads, H head dim, F ffn.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <vector>

#include "lib/model/layer_kinds.h"
#include "worker/engine/model/sequence_cache.h"
#include "worker/engine/ops/attention/attention.h"
#include "worker/engine/ops/delta/delta.h"
#include "worker/engine/ops/linear/linear.h"
#include "worker/engine/ops/norm/head_norm.h"
#include "worker/engine/ops/norm/norm.h"
#include "worker/engine/ops/rope/rope.h"

namespace ftd::engine {

// A norm that the model lacks has no weight.
struct DecoderLayer {
  LayerKind kind;
  Parameter attention_input_norm;  // [D]
  LinearLayer qkv;                 // [(N+2K)·H, D], or more: what the mixer reads
  Parameter query_norm;            // [H], of each head, or [N·H]
  Parameter key_norm;              // [H], or [K·H]
  DeltaWeights delta;
  LinearLayer o;                    // [D, N·H], or from what the mixer makes
  Parameter attention_output_norm;  // [D]
  Parameter mlp_input_norm;         // [D]
  LinearLayer gate_up;              // [2F, D]
  LinearLayer down;                 // [D, F]
  Parameter mlp_output_norm;        // [D]
};

// Visits the layer's linear maps in a fixed order: visit(LinearLayer&), const where the layer is.
template <typename Layer, typename Visit>
void ForEachLinear(Layer& layer, const Visit& visit) {
  visit(layer.qkv);
  visit(layer.o);
  visit(layer.gate_up);
  visit(layer.down);
}

// Visits the parameters that the layer has beside its linear maps: visit(Parameter&).
template <typename Visit>
void ForEachOther(DecoderLayer& layer, const Visit& visit) {
  for (Parameter* one :
       {&layer.attention_input_norm, &layer.mlp_input_norm, &layer.query_norm, &layer.key_norm,
        &layer.attention_output_norm, &layer.mlp_output_norm, &layer.delta.conv, &layer.delta.decay,
        &layer.delta.step_bias, &layer.delta.norm}) {
    if (one->value.defined()) visit(*one);
  }
}

// The data that all layers share in one pass over a batch.
struct BatchContext {
  Documents documents;
  Rotation rotation, local_rotation;  // of LayerKind::local_rope
  AttentionShape attention;           // without a layer's window
  bool attention_gate = false;
  DeltaContext delta;
  NormKind norm = NormKind::kRounded;
  double eps = 0;
  Activation activation = Activation::kSilu;
  double residual_multiplier = 1;  // m
  double dropout = 0;              // LoRA's
  uint64_t dropout_seed = 0;       // of this micro-batch
  // Of the documents, in generation: each is the beginning of a sequence, or the next token of one.
  std::vector<SequenceCache*> caches;

  bool continues() const { return !caches.empty() && caches[0]->tokens > 0; }
};

// Kept of what a block adds to the hidden state, where that is normed.
struct BranchSaved {
  at::Tensor x;  // [T, D] before its norm
  NormSaved norm;
};

// Kept from forward to backward.
struct DecoderLayerSaved {
  at::Tensor x;  // [T, D] the layer's input
  NormSaved norm1;
  at::Tensor qkv;   // [T, (N+2K)·H] normed and rotated; of the delta rule as projected
  at::Tensor gate;  // [T, N·H]
  LinearSaved qkv_lora;
  HeadNormSaved query_norm, key_norm;
  AttentionSaved attention;
  DeltaSaved delta;
  LinearSaved o_lora;
  BranchSaved attention_branch;
  at::Tensor h;  // [T, D]
  NormSaved norm2;
  at::Tensor gate_up;  // [T, 2F]
  LinearSaved gate_up_lora;
  LinearSaved down_lora;
  BranchSaved mlp_branch;
  // Kept only from a layer's recomputation to its backward pass, which follows at once.
  at::Tensor normed1, normed2;  // [T, D]
  at::Tensor product;           // [T, F]
};

// Returns y [T, D] of x [T, D]. `index` is the layer's, for its dropout masks.
at::Tensor DecoderLayerForward(const DecoderLayer& layer, int64_t index,
                               const BatchContext& context, const at::Tensor& x,
                               DecoderLayerSaved* saved);

// Makes everything that the backward pass needs of the forward pass, from saved->x. The last
// projection's output is left out where it is not needed.
void DecoderLayerRecompute(const DecoderLayer& layer, int64_t index, const BatchContext& context,
                           DecoderLayerSaved* saved);

// Returns dx [T, D] of dy [T, D]; adds to the layer's gradients. Undefined unless `needs_dx`.
at::Tensor DecoderLayerBackward(DecoderLayer& layer, int64_t index, const BatchContext& context,
                                const DecoderLayerSaved& saved, const at::Tensor& dy,
                                bool needs_dx);

}  // namespace ftd::engine
