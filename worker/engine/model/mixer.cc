#include "worker/engine/model/mixer.h"

#include <utility>

#include "worker/engine/ops/attention/gate.h"

namespace ftd::engine {
namespace {

AttentionShape ShapeIn(const DecoderLayer& layer, const BatchContext& context) {
  AttentionShape shape = context.attention;
  shape.window = layer.kind.window;
  return shape;
}

const Rotation& RotationIn(const DecoderLayer& layer, const BatchContext& context) {
  static const Rotation none;
  if (!layer.kind.rotates) return none;
  return layer.kind.local_rope ? context.local_rotation : context.rotation;
}

NormWeight WeightOf(const Parameter& norm, const BatchContext& context) {
  return {norm.value, context.norm};
}

// Norms queries and keys in place, before their rotation.
void NormQueriesAndKeys(const DecoderLayer& layer, const BatchContext& context,
                        DecoderLayerSaved* saved) {
  if (!layer.query_norm.value.defined()) return;
  const AttentionShape& s = context.attention;
  const int64_t queries = s.heads * s.head_dim, keys = s.kv_heads * s.head_dim;
  HeadNormForward(saved->qkv, 0, queries, WeightOf(layer.query_norm, context), context.eps,
                  &saved->query_norm);
  HeadNormForward(saved->qkv, queries, keys, WeightOf(layer.key_norm, context), context.eps,
                  &saved->key_norm);
}

void NormQueriesAndKeysBackward(DecoderLayer& layer, const BatchContext& context,
                                const DecoderLayerSaved& saved, const at::Tensor& dqkv) {
  if (!layer.query_norm.value.defined()) return;
  const AttentionShape& s = context.attention;
  const int64_t queries = s.heads * s.head_dim, keys = s.kv_heads * s.head_dim;
  HeadNormBackward(dqkv, 0, queries, WeightOf(layer.query_norm, context), saved.query_norm,
                   layer.query_norm.FreshGrad());
  HeadNormBackward(dqkv, queries, keys, WeightOf(layer.key_norm, context), saved.key_norm,
                   layer.key_norm.FreshGrad());
}

}  // namespace

at::Tensor MixerForward(const DecoderLayer& layer, const BatchContext& context,
                        at::Tensor projected, DecoderLayerSaved* saved) {
  saved->qkv = std::move(projected);
  if (layer.kind.delta) return DeltaForward(saved->qkv, layer.delta, context.delta, &saved->delta);
  if (context.attention_gate) {
    QkvAndGate parts = SplitGate(saved->qkv, context.attention);
    saved->qkv = std::move(parts.qkv);
    saved->gate = std::move(parts.gate);
  }
  NormQueriesAndKeys(layer, context, saved);
  // In place: nothing needs the queries and keys before their rotation.
  const AttentionShape shape = ShapeIn(layer, context);
  RotateQueriesAndKeys(saved->qkv, shape, RotationIn(layer, context));
  AttentionForward(saved->qkv, context.documents, shape, &saved->attention);
  return MixerOutput(layer, context, *saved);
}

at::Tensor MixerOutput(const DecoderLayer& layer, const BatchContext& context,
                       const DecoderLayerSaved& saved) {
  if (layer.kind.delta) return DeltaOutput(saved.qkv, layer.delta, context.delta, saved.delta);
  if (context.attention_gate) return GateForward(saved.attention.out, saved.gate);
  return saved.attention.out;
}

at::Tensor MixerBackward(DecoderLayer& layer, const BatchContext& context,
                         const DecoderLayerSaved& saved, const at::Tensor& d_mixed) {
  if (layer.kind.delta)
    return DeltaBackward(saved.qkv, layer.delta, context.delta, saved.delta, d_mixed);
  at::Tensor grad = d_mixed, d_gate;
  if (context.attention_gate)
    grad = GateBackward(saved.attention.out, saved.gate, d_mixed, &d_gate);
  grad = AttentionBackward(saved.qkv, context.documents, ShapeIn(layer, context),
                           RotationIn(layer, context), saved.attention, grad);
  NormQueriesAndKeysBackward(layer, context, saved, grad);
  return context.attention_gate ? SplitGateBackward({grad, d_gate}, context.attention) : grad;
}

}  // namespace ftd::engine
