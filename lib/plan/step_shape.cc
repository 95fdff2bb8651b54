#include "lib/plan/step_shape.h"

#include <algorithm>

#include "lib/base/ceil_div.h"
#include "lib/plan/work_sizes.h"

namespace ftd {
namespace {

// Takes what a layer with attention has of a role.
void Take(const ParameterInfo& info, const TrainSpec& spec, StepShape& shape) {
  const int64_t rows = info.tensors[0].shape[0];
  switch (info.role) {
    case ParameterRole::kAttentionInputNorm:
      shape.norms.attention_input = true;
      break;
    case ParameterRole::kAttentionOutputNorm:
      shape.norms.attention_output = true;
      break;
    case ParameterRole::kMlpInputNorm:
      shape.norms.mlp_input = true;
      break;
    case ParameterRole::kMlpOutputNorm:
      shape.norms.mlp_output = true;
      break;
    case ParameterRole::kQueryNorm:
      shape.query_norms = shape.heads * shape.head_dim / rows;
      break;
    case ParameterRole::kKeyNorm:
      shape.key_norms = shape.kv_heads * shape.head_dim / rows;
      break;
    case ParameterRole::kQkv:
      shape.ranks.qkv = RanksOf(info, spec);
      break;
    case ParameterRole::kQkvBias:
      shape.qkv_bias = true;
      break;
    case ParameterRole::kAttentionOut:
      shape.ranks.o = RanksOf(info, spec);
      break;
    case ParameterRole::kAttentionOutBias:
      shape.o_bias = true;
      break;
    case ParameterRole::kGateUp:
      shape.ranks.gate_up = RanksOf(info, spec);
      break;
    case ParameterRole::kGateUpBias:
      shape.gate_up_bias = true;
      break;
    case ParameterRole::kDown:
      shape.ranks.down = RanksOf(info, spec);
      break;
    case ParameterRole::kDownBias:
      shape.down_bias = true;
      break;
    default:
      break;
  }
}

// Likewise of a layer with the gated delta rule, whose feed-forward block is as every other's.
void TakeDelta(const ParameterInfo& info, const TrainSpec& spec, DeltaLayers& delta) {
  if (info.role == ParameterRole::kQkv) delta.qkv_ranks = RanksOf(info, spec);
  if (info.role == ParameterRole::kAttentionOut) delta.o_ranks = RanksOf(info, spec);
}

DeltaLayers DeltaLayersOf(const ModelConfig& config) {
  DeltaLayers delta;
  delta.sizes = config.delta;
  if (delta.sizes.value_heads == 0) return delta;
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer)
    delta.at.push_back(config.KindOf(layer).delta);
  return delta;
}

}  // namespace

void AddRow(const RowLength& row, BatchShape& batch) {
  batch.tokens += row.tokens;
  batch.labels += row.labels;
  ++batch.documents;
  batch.longest = std::max(batch.longest, row.tokens);
  batch.chunks += CeilDiv(row.tokens, kChunkTokens);
}

BatchShape MostOf(const BatchShape& a, const BatchShape& b) {
  return {.tokens = std::max(a.tokens, b.tokens),
          .labels = std::max(a.labels, b.labels),
          .documents = std::max(a.documents, b.documents),
          .distinct = std::max(a.distinct, b.distinct),
          .longest = std::max(a.longest, b.longest),
          .chunks = std::max(a.chunks, b.chunks)};
}

int64_t BytesOf(Dtype dtype) { return dtype == Dtype::kFloat32 ? 4 : 2; }

int64_t RanksOf(const ParameterInfo& map, const TrainSpec& spec) {
  if (spec.mode == Mode::kFull) return 0;
  const auto& wanted = spec.lora.target_modules;
  const auto adapted = [&](const TensorInfo& tensor) {
    return std::find(wanted.begin(), wanted.end(), ModuleOf(tensor.name)) != wanted.end();
  };
  return spec.lora.rank * std::count_if(map.tensors.begin(), map.tensors.end(), adapted);
}

std::vector<int64_t> AdapterSizes(const ParameterInfo& map, const TrainSpec& spec) {
  const int64_t ranks = RanksOf(map, spec);
  if (ranks == 0) return {};
  std::vector<int64_t> sizes = {ranks * map.tensors[0].shape[1]};
  for (const TensorInfo& tensor : map.tensors) {
    const ParameterInfo alone{.role = map.role, .tensors = {tensor}};
    if (const int64_t rank = RanksOf(alone, spec); rank > 0)
      sizes.push_back(tensor.shape[0] * rank);
  }
  return sizes;
}

int64_t NumbersOf(const TensorInfo& tensor) {
  int64_t numbers = 1;
  for (const int64_t size : tensor.shape) numbers *= size;
  return numbers;
}

StepShape StepShapeOf(const ModelConfig& config, const TrainSpec& spec, bool on_gpu) {
  const bool full = spec.mode == Mode::kFull;
  const int64_t element = BytesOf(spec.dtype);
  StepShape shape{.layers = config.num_hidden_layers,
                  .hidden = config.hidden_size,
                  .heads = config.num_attention_heads,
                  .kv_heads = config.num_key_value_heads,
                  .head_dim = config.head_dim,
                  .inner = config.intermediate_size,
                  .vocabulary = config.vocab_size,
                  .element = element,
                  .on_gpu = on_gpu,
                  .norms = {false, false, false, false},
                  .scaled_branches = config.residual_multiplier != 1,
                  .softcapped = config.attention_softcap > 0,
                  .logits_softcapped = config.logits_softcap > 0,
                  .rotary_dim = config.rope.rotary_dim,
                  .rope_tables = config.UsesLocalRope() ? 2 : 1,
                  .rope_element = config.rope_in_float32 ? 4 : element,
                  .queries_scaled = config.query_scale_beta > 0,
                  .attention_gate = config.attention_gate,
                  .delta = DeltaLayersOf(config),
                  .grad_element = full && spec.precision == Precision::kHfParity ? element : 4,
                  .full = full,
                  .dropout = !full && spec.lora.dropout > 0,
                  .norm_folds = on_gpu && spec.dtype == Dtype::kBfloat16,
                  .rank = full ? 0 : spec.lora.rank};
  // All layers of a kind have the same shapes and adapters.
  VisitParameters(config, [&](const ParameterInfo& info) {
    if (info.layer < 0) return absl::OkStatus();
    if (config.KindOf(info.layer).delta) {
      TakeDelta(info, spec, shape.delta);
    } else {
      Take(info, spec, shape);
    }
    return absl::OkStatus();
  }).IgnoreError();
  return shape;
}

void SetBatch(const BatchShape& batch, bool accumulated, StepShape& shape) {
  shape.tokens = batch.tokens;
  shape.labels = batch.labels;
  shape.documents = shape.delta.documents = batch.documents;
  shape.distinct = batch.distinct;
  shape.longest = batch.longest;
  shape.delta.chunks = batch.chunks;
  shape.accumulated = accumulated;
}

}  // namespace ftd
