#include "worker/engine/model/decoder_layer.h"

#include "worker/engine/ops/glu/swiglu.h"

namespace ftd::engine {
namespace {

// The four maps of a layer, numbered for the counters of their dropout masks.
enum Map : uint64_t { kQkv, kO, kGateUp, kDown };

// Returns the masks of one map; 4 · layer + map is distinct for each map of the model.
Dropout DropoutOf(const BatchContext& context, int64_t layer, Map map) {
  return {context.dropout, context.dropout_seed, static_cast<uint32_t>(layer * 4 + map)};
}

// Computes the layer up to the input of its last projection, which it returns:
//   qkv     = rope(qk_norm(norm1(x) W_qkvᵀ)) [T, (N+2K)·H]
//   h       = x + attention(qkv) W_oᵀ        [T, D]
//   gate_up = norm2(h) W_gate_upᵀ            [T, 2F]
//   product = silu(gate) ∘ up                [T, F]
// One variable holds both norms' outputs in turn, so the first is free once the second exists,
// unless `keep_inputs` asks for it.
at::Tensor ForwardToProduct(const DecoderLayer& layer, int64_t index, const BatchContext& context,
                            bool keep_inputs, DecoderLayerSaved* saved) {
  at::Tensor normed = RmsNormForward(saved->x, layer.input_norm.value, context.eps, &saved->norm1);
  saved->qkv = LinearForward(layer.qkv, normed, DropoutOf(context, index, kQkv), &saved->qkv_lora);
  if (keep_inputs) saved->normed1 = normed;
  const AttentionShape& shape = context.attention;
  if (layer.query_norm.value.defined()) {
    HeadNormForward(saved->qkv, 0, shape.heads, layer.query_norm.value, context.eps,
                    &saved->query_norm);
    HeadNormForward(saved->qkv, shape.heads, shape.kv_heads, layer.key_norm.value, context.eps,
                    &saved->key_norm);
  }
  // In place: nothing needs the queries and keys before their rotation.
  RotateQueriesAndKeys(saved->qkv, context.attention, context.rope);
  const at::Tensor attended =
      AttentionForward(saved->qkv, context.documents, context.attention, &saved->attention);
  saved->h = LinearForward(layer.o, attended, DropoutOf(context, index, kO), &saved->o_lora)
                 .add_(saved->x);
  normed = RmsNormForward(saved->h, layer.post_attention_norm.value, context.eps, &saved->norm2);
  saved->gate_up = LinearForward(layer.gate_up, normed, DropoutOf(context, index, kGateUp),
                                 &saved->gate_up_lora);
  if (keep_inputs) saved->normed2 = normed;
  return SwigluForward(saved->gate_up);
}

// Returns a norm's output as a map's input: kept, or to be made again.
LinearInput Normed(const at::Tensor& kept, const at::Tensor& x, const Parameter& norm,
                   const NormSaved& saved) {
  return {kept, x, norm.value, saved};
}

}  // namespace

at::Tensor DecoderLayerForward(const DecoderLayer& layer, int64_t index,
                               const BatchContext& context, const at::Tensor& x,
                               DecoderLayerSaved* saved) {
  saved->x = x;
  const at::Tensor product = ForwardToProduct(layer, index, context, /*keep_inputs=*/false, saved);
  return LinearForward(layer.down, product, DropoutOf(context, index, kDown), &saved->down_lora)
      .add_(saved->h);
}

void DecoderLayerRecompute(const DecoderLayer& layer, int64_t index, const BatchContext& context,
                           DecoderLayerSaved* saved) {
  saved->product = ForwardToProduct(layer, index, context, /*keep_inputs=*/true, saved);
  LinearRecompute(layer.down, saved->product, DropoutOf(context, index, kDown), &saved->down_lora);
}

// Forward's steps in reverse; at either sum the gradient goes both ways, past the block and through
// it:
//   dproduct = dy W_down                     dgate_up = swiglu'(dproduct)
//   dh       = dy + norm2'(dgate_up W_gate_up)
//   dqkv     = qk_norm'(attention'(dh W_o))  rotation included
//   dx       = dh + norm1'(dqkv W_qkv)
// `grad` is overwritten by each step, so that a gradient is free once the next one exists. The
// norms add the way past the block themselves (`residual`).
at::Tensor DecoderLayerBackward(DecoderLayer& layer, int64_t index, const BatchContext& context,
                                const DecoderLayerSaved& saved, const at::Tensor& dy,
                                bool needs_dx) {
  LinearInput input{saved.product.defined() ? saved.product : SwigluForward(saved.gate_up)};
  at::Tensor grad = LinearBackward(layer.down, input, saved.down_lora,
                                   DropoutOf(context, index, kDown), dy, true);
  grad = SwigluBackward(saved.gate_up, grad);
  input = Normed(saved.normed2, saved.h, layer.post_attention_norm, saved.norm2);
  grad = LinearBackward(layer.gate_up, input, saved.gate_up_lora,
                        DropoutOf(context, index, kGateUp), grad, true);
  const at::Tensor dh = RmsNormBackward(saved.h, layer.post_attention_norm.value, saved.norm2, grad,
                                        /*residual=*/dy, layer.post_attention_norm.FreshGrad());

  grad = LinearBackward(layer.o, {saved.attention.out}, saved.o_lora, DropoutOf(context, index, kO),
                        dh, true);
  grad = AttentionBackward(saved.qkv, context.documents, context.attention, context.rope,
                           saved.attention, grad);
  if (layer.query_norm.value.defined()) {
    const AttentionShape& shape = context.attention;
    HeadNormBackward(grad, 0, shape.heads, layer.query_norm.value, saved.query_norm,
                     layer.query_norm.FreshGrad());
    HeadNormBackward(grad, shape.heads, shape.kv_heads, layer.key_norm.value, saved.key_norm,
                     layer.key_norm.FreshGrad());
  }
  input = Normed(saved.normed1, saved.x, layer.input_norm, saved.norm1);
  grad = LinearBackward(layer.qkv, input, saved.qkv_lora, DropoutOf(context, index, kQkv), grad,
                        needs_dx);
  // Only layer 0 with adapters gets here: its norm is frozen too, so nothing needs norm1'.
  if (!needs_dx) return {};
  return RmsNormBackward(saved.x, layer.input_norm.value, saved.norm1, grad, /*residual=*/dh,
                         layer.input_norm.FreshGrad());
}

}  // namespace ftd::engine
