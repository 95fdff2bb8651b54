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
          .head_norms = layer.query_norm.value.defined(),
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
