#include "lib/gguf/tensor_plan.h"

#include <cmath>
#include <numbers>
#include <numeric>
#include <string_view>

#include "absl/strings/match.h"
#include "lib/base/concat.h"
#include "lib/base/error.h"
#include "lib/model/architecture.h"
#include "lib/model/families.h"

namespace ftd::gguf {
namespace {

// Biases have the names of their weights.
ParameterRole WeightOf(ParameterRole role) {
  using enum ParameterRole;
  switch (role) {
    case kQkvBias:
      return kQkv;
    case kAttentionOutBias:
      return kAttentionOut;
    case kGateUpBias:
      return kGateUp;
    case kDownBias:
      return kDown;
    default:
      return role;
  }
}

// "model.layers.0.self_attn.q_proj.weight": the module "q_proj" and the suffix ".weight".
struct NameParts {
  std::string_view module, suffix;
};

NameParts PartsOf(std::string_view name) {
  NameParts parts;
  for (const std::string_view suffix : {".weight", ".bias"}) {
    if (name.ends_with(suffix)) parts.suffix = suffix;
  }
  name.remove_suffix(parts.suffix.size());
  parts.module = name.substr(name.rfind('.') + 1);
  return parts;
}

const NameRow* FindName(const GgufFamily& family, ParameterRole role, std::string_view module) {
  for (const absl::Span<const NameRow> rows : {family.names, CommonNames()}) {
    for (const NameRow& row : rows) {
      if (row.role == role && (row.module.empty() || row.module == module)) return &row;
    }
  }
  return nullptr;
}

// Neighbours 2i and 2i + 1 of a head are features i and i + H/2 before.
std::vector<int32_t> PairOrder(int64_t heads, int64_t head_dim) {
  std::vector<int32_t> order;
  for (int64_t head = 0; head < heads; ++head) {
    for (int64_t i = 0; i < head_dim; ++i)
      order.push_back(static_cast<int32_t>(head * head_dim + i % 2 * (head_dim / 2) + i / 2));
  }
  return order;
}

// The value heads of a key head are neighbours in the model; llama.cpp has the first of each key
// head first, then the second. `before` rows stay as they are.
std::vector<int32_t> DeltaOrder(const DeltaShape& delta, int64_t before, int64_t head_rows) {
  std::vector<int32_t> order(before);
  std::iota(order.begin(), order.end(), 0);
  const int64_t repeats = delta.value_heads / delta.key_heads;
  for (int64_t repeat = 0; repeat < repeats; ++repeat) {
    for (int64_t key = 0; key < delta.key_heads; ++key) {
      for (int64_t i = 0; i < head_rows; ++i)
        order.push_back(static_cast<int32_t>(before + (key * repeats + repeat) * head_rows + i));
    }
  }
  return order;
}

std::vector<int32_t> OrderOf(Order order, const GgufFamily& family, const ModelConfig& config) {
  const DeltaShape& delta = config.delta;
  const bool pairs = family.pairs_neighbours && !config.rope_interleaved;
  switch (order) {
    case Order::kAsIs:
      return {};
    case Order::kQueryPairs:
      return pairs ? PairOrder(config.num_attention_heads, config.head_dim)
                   : std::vector<int32_t>();
    case Order::kKeyPairs:
      return pairs ? PairOrder(config.num_key_value_heads, config.head_dim)
                   : std::vector<int32_t>();
    case Order::kDeltaChannels:
      return DeltaOrder(delta, 2 * delta.keys(), delta.value_dim);
    case Order::kDeltaValues:
    case Order::kDeltaColumns:
      return DeltaOrder(delta, 0, delta.value_dim);
    case Order::kDeltaHeads:
      return DeltaOrder(delta, 0, 1);
  }
  return {};
}

absl::StatusOr<PlannedTensor> Plan(const GgufFamily& family, const ModelConfig& config,
                                   const ParameterInfo& parameter, const TensorInfo& tensor) {
  const NameParts parts = PartsOf(tensor.name);
  const NameRow* row = FindName(family, WeightOf(parameter.role), parts.module);
  if (row == nullptr) {
    return Error(Reason::kModelUnsupported,
                 Concat("llama.cpp has no place for the tensor ", tensor.name));
  }
  PlannedTensor plan;
  plan.layer = parameter.layer;
  plan.name =
      Concat(plan.layer < 0 ? "" : Concat("blk.", plan.layer, "."), row->name, parts.suffix);
  plan.source = tensor.name;
  plan.is_vector = tensor.shape.size() == 1;
  plan.rows = plan.is_vector ? 1 : tensor.shape.front();
  plan.columns = tensor.shape.back();
  const bool of_columns = plan.is_vector || row->order == Order::kDeltaColumns;
  (of_columns ? plan.column_order : plan.row_order) = OrderOf(row->order, family, config);
  const bool shifts = row->mapping == Mapping::kNormWeight && config.norm != NormKind::kOffset;
  plan.mapping = shifts ? Mapping::kAsIs : row->mapping;
  return plan;
}

PlannedTensor Constant(std::string name, std::vector<float> values) {
  PlannedTensor plan;
  plan.name = std::move(name);
  plan.is_vector = true;
  plan.columns = static_cast<int64_t>(values.size());
  plan.values = std::move(values);
  return plan;
}

// By what llama.cpp divides each frequency: transformers modeling_rope_utils.py,
// _compute_llama3_parameters, in float32 as there.
std::vector<float> Llama3Divisors(const RopeConfig& rope) {
  const double longest = rope.original_max_position_embeddings / rope.low_freq_factor;
  const double shortest = rope.original_max_position_embeddings / rope.high_freq_factor;
  std::vector<float> divisors;
  for (int64_t i = 0; i < rope.rotary_dim; i += 2) {
    const double wavelength =
        2 * std::numbers::pi *
        std::pow(rope.theta, static_cast<double>(i) / static_cast<double>(rope.rotary_dim));
    const double smooth =
        (rope.original_max_position_embeddings / wavelength - rope.low_freq_factor) /
        (rope.high_freq_factor - rope.low_freq_factor);
    const double between = 1 / ((1 - smooth) / rope.factor + smooth);
    divisors.push_back(static_cast<float>(wavelength < shortest  ? 1
                                          : wavelength > longest ? rope.factor
                                                                 : between));
  }
  return divisors;
}

std::vector<float> Floats(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

void PlanRope(const RopeConfig& rope, std::vector<PlannedTensor>* plans) {
  if (rope.type == RopeConfig::Type::kLlama3)
    plans->push_back(Constant("rope_freqs.weight", Llama3Divisors(rope)));
  if (rope.type == RopeConfig::Type::kLongrope) {
    plans->push_back(Constant("rope_factors_long.weight", Floats(rope.long_factor)));
    plans->push_back(Constant("rope_factors_short.weight", Floats(rope.short_factor)));
  }
}

}  // namespace

std::vector<int64_t> PlannedTensor::shape() const {
  return is_vector ? std::vector<int64_t>{columns} : std::vector<int64_t>{rows, columns};
}

absl::StatusOr<std::vector<PlannedTensor>> PlanTensors(const GgufFamily& family,
                                                       const ModelConfig& config) {
  std::vector<PlannedTensor> plans;
  PlanRope(config.rope, &plans);
  FTD_RETURN_IF_ERROR(VisitParameters(config, [&](const ParameterInfo& parameter) {
    for (const TensorInfo& tensor : parameter.tensors) {
      FTD_ASSIGN_OR_RETURN(PlannedTensor plan, Plan(family, config, parameter, tensor));
      const bool is_head_too = family.needs_head && config.tie_word_embeddings &&
                               parameter.role == ParameterRole::kEmbedding;
      plans.push_back(plan);
      if (!is_head_too) continue;
      plan.name = "output.weight";
      plans.push_back(std::move(plan));
    }
    return absl::OkStatus();
  }));
  return plans;
}

}  // namespace ftd::gguf
