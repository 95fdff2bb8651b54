#include "worker/engine/decoder_layer.h"

#include "worker/engine/swiglu.h"

namespace ftd::engine {
namespace {

// The four maps of a layer draw their dropout masks from seeds of their own.
enum Map : uint64_t { kQkv, kO, kGateUp, kDown };

Dropout DropoutOf(const BatchContext& context, int64_t layer, Map map) {
  return {context.dropout, context.dropout_seed + static_cast<uint64_t>(layer) * 4 + map};
}

void RotateQueriesAndKeys(const at::Tensor& qkv, const BatchContext& context, bool backward) {
  const AttentionShape& s = context.attention;
  const int64_t rotated = s.heads + s.kv_heads;
  ApplyRope(qkv.narrow(1, 0, rotated * s.head_dim).view({qkv.size(0), rotated, s.head_dim}),
            context.rope, backward);
}

}  // namespace

at::Tensor DecoderLayerForward(const DecoderLayer& layer, int64_t index,
                               const BatchContext& context, const at::Tensor& x,
                               DecoderLayerSaved* saved) {
  saved->x = x;
  at::Tensor normed = RmsNormForward(x, layer.input_norm.value, context.eps, &saved->norm1);
  saved->qkv = LinearForward(layer.qkv, normed, DropoutOf(context, index, kQkv), &saved->qkv_lora);
  RotateQueriesAndKeys(saved->qkv, context, /*backward=*/false);
  const at::Tensor attended =
      AttentionForward(saved->qkv, context.documents, context.attention, &saved->attention);
  saved->h =
      LinearForward(layer.o, attended, DropoutOf(context, index, kO), &saved->o_lora).add_(x);

  normed = RmsNormForward(saved->h, layer.post_attention_norm.value, context.eps, &saved->norm2);
  saved->gate_up = LinearForward(layer.gate_up, normed, DropoutOf(context, index, kGateUp),
                                 &saved->gate_up_lora);
  return LinearForward(layer.down, SwigluForward(saved->gate_up), DropoutOf(context, index, kDown),
                       &saved->down_lora)
      .add_(saved->h);
}

at::Tensor DecoderLayerBackward(DecoderLayer& layer, int64_t index, const BatchContext& context,
                                const DecoderLayerSaved& saved, const at::Tensor& dy,
                                bool needs_dx) {
  const at::Tensor product = SwigluForward(saved.gate_up);
  at::Tensor grad = LinearBackward(layer.down, product, saved.down_lora,
                                   DropoutOf(context, index, kDown), dy, true);
  grad = SwigluBackward(saved.gate_up, grad);
  at::Tensor normed = RmsNormAgain(saved.h, layer.post_attention_norm.value, saved.norm2);
  grad = LinearBackward(layer.gate_up, normed, saved.gate_up_lora,
                        DropoutOf(context, index, kGateUp), grad, true);
  const at::Tensor dh = RmsNormBackward(saved.h, layer.post_attention_norm.value, saved.norm2, grad,
                                        layer.post_attention_norm.FreshGrad())
                            .add_(dy);

  grad = LinearBackward(layer.o, saved.attention.out, saved.o_lora, DropoutOf(context, index, kO),
                        dh, true);
  grad = AttentionBackward(saved.qkv, context.documents, context.attention, saved.attention, grad);
  RotateQueriesAndKeys(grad, context, /*backward=*/true);
  normed = RmsNormAgain(saved.x, layer.input_norm.value, saved.norm1);
  grad = LinearBackward(layer.qkv, normed, saved.qkv_lora, DropoutOf(context, index, kQkv), grad,
                        needs_dx);
  if (!needs_dx) return {};
  return RmsNormBackward(saved.x, layer.input_norm.value, saved.norm1, grad,
                         layer.input_norm.FreshGrad())
      .add_(dh);
}

}  // namespace ftd::engine
