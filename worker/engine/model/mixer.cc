#include "worker/engine/model/mixer.h"

#include <utility>
#include <vector>

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

// Norms queries and keys in place, before their rotation.
void NormQueriesAndKeys(const DecoderLayer& layer, const BatchContext& context,
                        DecoderLayerSaved* saved) {
  if (!layer.query_norm.value.defined()) return;
  const AttentionShape& s = context.attention;
  const int64_t queries = s.heads * s.head_dim, keys = s.kv_heads * s.head_dim;
  HeadNormForward(saved->qkv, 0, queries, NormWeightOf(layer.query_norm, context), context.eps,
                  &saved->query_norm);
  HeadNormForward(saved->qkv, queries, keys, NormWeightOf(layer.key_norm, context), context.eps,
                  &saved->key_norm);
}

void NormQueriesAndKeysBackward(DecoderLayer& layer, const BatchContext& context,
                                const DecoderLayerSaved& saved, const at::Tensor& dqkv) {
  if (!layer.query_norm.value.defined()) return;
  const AttentionShape& s = context.attention;
  const int64_t queries = s.heads * s.head_dim, keys = s.kv_heads * s.head_dim;
  HeadNormBackward(dqkv, 0, queries, NormWeightOf(layer.query_norm, context), saved.query_norm,
                   layer.query_norm.FreshGrad());
  HeadNormBackward(dqkv, queries, keys, NormWeightOf(layer.key_norm, context), saved.key_norm,
                   layer.key_norm.FreshGrad());
}

// Returns a layer's part of each sequence's cache: LayerCache::attention or ::delta.
template <typename Cache>
std::vector<Cache*> CachesOf(const BatchContext& context, int64_t index, Cache LayerCache::*part) {
  std::vector<Cache*> caches;
  for (SequenceCache* cache : context.caches) caches.push_back(&(cache->layers[index].*part));
  return caches;
}

// Stores in each sequence's cache what its document leaves.
at::Tensor DeltaForwardStoring(const DecoderLayer& layer, int64_t index,
                               const BatchContext& context, DecoderLayerSaved* saved) {
  at::Tensor ends;
  at::Tensor mixed = DeltaForward(saved->qkv, layer.delta, context.delta, &saved->delta, &ends);
  const std::vector<DeltaCache*> caches = CachesOf(context, index, &LayerCache::delta);
  const std::vector<int64_t>& offsets = context.documents.offsets;
  for (size_t d = 0; d < caches.size(); ++d) {
    StoreDelta(saved->qkv, offsets[d], offsets[d + 1], layer.delta, context.delta.shape,
               ends[context.delta.chunks.ranks[d]], caches[d]);
  }
  return mixed;
}

at::Tensor DeltaMixer(const DecoderLayer& layer, int64_t index, const BatchContext& context,
                      DecoderLayerSaved* saved) {
  if (context.continues()) {
    return DeltaStep(saved->qkv, layer.delta, context.delta,
                     CachesOf(context, index, &LayerCache::delta));
  }
  if (!context.caches.empty()) return DeltaForwardStoring(layer, index, context, saved);
  return DeltaForward(saved->qkv, layer.delta, context.delta, &saved->delta);
}

// Attends within the batch, or to what came before it in its sequences' caches.
void Attend(const AttentionShape& shape, int64_t index, const BatchContext& context,
            DecoderLayerSaved* saved) {
  const std::vector<KvCache*> caches = CachesOf(context, index, &LayerCache::attention);
  if (context.continues()) {
    saved->attention.out = CachedAttention(saved->qkv, shape, caches);
    return;
  }
  AttentionForward(saved->qkv, context.documents, shape, &saved->attention);
  const std::vector<int64_t>& offsets = context.documents.offsets;
  for (size_t d = 0; d < caches.size(); ++d)
    StoreKeysAndValues(saved->qkv, offsets[d], offsets[d + 1], shape, caches[d]);
}

}  // namespace

at::Tensor MixerForward(const DecoderLayer& layer, int64_t index, const BatchContext& context,
                        at::Tensor projected, DecoderLayerSaved* saved) {
  saved->qkv = std::move(projected);
  if (layer.kind.delta) return DeltaMixer(layer, index, context, saved);
  if (context.attention_gate) {
    QkvAndGate parts = SplitGate(saved->qkv, context.attention);
    saved->qkv = std::move(parts.qkv);
    saved->gate = std::move(parts.gate);
  }
  NormQueriesAndKeys(layer, context, saved);
  // In place: nothing needs the queries and keys before their rotation.
  const AttentionShape shape = ShapeIn(layer, context);
  RotateQueriesAndKeys(saved->qkv, shape, RotationIn(layer, context));
  Attend(shape, index, context, saved);
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
