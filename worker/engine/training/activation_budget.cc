#include "worker/engine/training/activation_budget.h"

#include <algorithm>
#include <vector>

#include "lib/base/ceil_div.h"
#include "worker/engine/ops/linear/linear.h"

namespace ftd::engine {

int64_t ActivationBudget(int64_t free_bytes) {
  // Kernels and workspaces that are loaded on first use do not grow with the card; gaps between
  // blocks do.
  constexpr int64_t kLoadedLater = int64_t{1} << 30;
  return std::max<int64_t>(free_bytes - free_bytes / 32 - kLoadedLater, 1);
}

namespace {

// Returns how many norms share so many columns of a token; 0 without.
int64_t NormsOf(const Parameter& norm, int64_t columns) {
  return norm.value.defined() ? columns / norm.value.size(0) : 0;
}

int64_t RanksOf(const LinearLayer& map) { return map.adapted() ? map.lora_a.value.size(0) : 0; }

// Returns the first layer of a kind, or the very first.
const DecoderLayer& FirstLayer(const Model& model, bool delta) {
  const auto found = std::find_if(model.layers.begin(), model.layers.end(),
                                  [&](const DecoderLayer& one) { return one.kind.delta == delta; });
  return found == model.layers.end() ? model.layers.front() : *found;
}

DeltaLayers DeltaLayersOf(const Model& model, const FlatBatch& batch) {
  DeltaLayers delta;
  delta.sizes = model.config.delta;
  if (delta.sizes.value_heads == 0) return delta;
  for (const DecoderLayer& layer : model.layers) delta.at.push_back(layer.kind.delta);
  const DecoderLayer& layer = FirstLayer(model, /*delta=*/true);
  delta.qkv_ranks = RanksOf(layer.qkv);
  delta.o_ranks = RanksOf(layer.o);
  const std::vector<int64_t>& offsets = batch.documents.offsets;
  delta.documents = static_cast<int64_t>(offsets.size()) - 1;
  for (size_t d = 1; d < offsets.size(); ++d)
    delta.chunks += CeilDiv(offsets[d] - offsets[d - 1], kChunkTokens);
  return delta;
}

}  // namespace

StepShape ShapeOf(const Model& model, const TrainSpec& spec, const FlatBatch& batch,
                  bool accumulated) {
  const ModelConfig& c = model.config;
  // All layers of a kind have the same shapes and adapters, so one stands for all.
  const DecoderLayer& layer = FirstLayer(model, /*delta=*/false);
  const bool full = spec.mode == Mode::kFull;
  const auto element = static_cast<int64_t>(c10::elementSize(model.dtype));
  return {
      .layers = c.num_hidden_layers,
      .hidden = c.hidden_size,
      .heads = c.num_attention_heads,
      .kv_heads = c.num_key_value_heads,
      .head_dim = c.head_dim,
      .inner = c.intermediate_size,
      .vocabulary = c.vocab_size,
      .element = element,
      .qkv_bias = layer.qkv.bias.value.defined(),
      .o_bias = layer.o.bias.value.defined(),
      .gate_up_bias = layer.gate_up.bias.value.defined(),
      .down_bias = layer.down.bias.value.defined(),
      .norms = {layer.attention_input_norm.value.defined(),
                layer.attention_output_norm.value.defined(), layer.mlp_input_norm.value.defined(),
                layer.mlp_output_norm.value.defined()},
      .query_norms = NormsOf(layer.query_norm, c.num_attention_heads * c.head_dim),
      .key_norms = NormsOf(layer.key_norm, c.num_key_value_heads * c.head_dim),
      .scaled_branches = c.residual_multiplier != 1,
      .softcapped = c.attention_softcap > 0,
      .logits_softcapped = c.logits_softcap > 0,
      .rotary_dim = c.rope.rotary_dim,
      .rope_tables = UsesLocalRope(c) ? 2 : 1,
      .rope_element = c.rope_in_float32 ? 4 : element,
      .queries_scaled = c.query_scale_beta > 0,
      .attention_gate = c.attention_gate,
      .delta = DeltaLayersOf(model, batch),
      .grad_element = full && spec.precision == Precision::kHfParity ? element : 4,
      .full = full,
      .dropout = !full && spec.lora.dropout > 0,
      .norm_folds = NormFoldsIntoProduct(model.embedding.value),
      .accumulated = accumulated,
      .ranks = {RanksOf(layer.qkv), RanksOf(layer.o), RanksOf(layer.gate_up), RanksOf(layer.down)},
      .rank = spec.lora.rank,
      .tokens = batch.documents.offsets.back(),
      .labels = batch.targets.numel(),
      .documents = static_cast<int64_t>(batch.documents.offsets.size()) - 1,
      .distinct = batch.distinct_ids.numel(),
      .longest = batch.documents.longest};
}

}  // namespace ftd::engine
