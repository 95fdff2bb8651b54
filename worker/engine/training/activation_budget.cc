#include "worker/engine/training/activation_budget.h"

#include <algorithm>

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

}  // namespace

StepShape ShapeOf(const Model& model, const TrainSpec& spec, const FlatBatch& batch,
                  bool accumulated) {
  const ModelConfig& c = model.config;
  // All layers have the same shapes and adapters, so one stands for all.
  const DecoderLayer& layer = model.layers.front();
  const auto ranks = [](const LinearLayer& map) {
    return map.adapted() ? map.lora_a.value.size(0) : 0;
  };
  const bool full = spec.mode == Mode::kFull;
  const auto element = static_cast<int64_t>(c10::elementSize(model.dtype));
  return {.layers = c.num_hidden_layers,
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
                    layer.attention_output_norm.value.defined(),
                    layer.mlp_input_norm.value.defined(), layer.mlp_output_norm.value.defined()},
          .query_norms = NormsOf(layer.query_norm, c.num_attention_heads * c.head_dim),
          .key_norms = NormsOf(layer.key_norm, c.num_key_value_heads * c.head_dim),
          .scaled_branches = c.residual_multiplier != 1,
          .softcapped = c.attention_softcap > 0,
          .logits_softcapped = c.logits_softcap > 0,
          .rotary_dim = c.rope.rotary_dim,
          .rope_tables = UsesLocalRope(c) ? 2 : 1,
          .rope_element = c.rope_in_float32 ? 4 : element,
          .queries_scaled = c.query_scale_beta > 0,
          .grad_element = full && spec.precision == Precision::kHfParity ? element : 4,
          .full = full,
          .dropout = !full && spec.lora.dropout > 0,
          .norm_folds = NormFoldsIntoProduct(model.embedding.value),
          .accumulated = accumulated,
          .ranks = {ranks(layer.qkv), ranks(layer.o), ranks(layer.gate_up), ranks(layer.down)},
          .rank = spec.lora.rank,
          .tokens = batch.documents.offsets.back(),
          .labels = batch.targets.numel(),
          .documents = static_cast<int64_t>(batch.documents.offsets.size()) - 1,
          .distinct = batch.distinct_ids.numel(),
          .longest = batch.documents.longest};
}

}  // namespace ftd::engine
