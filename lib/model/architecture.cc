#include "lib/model/architecture.h"

#include <algorithm>

#include "lib/base/error.h"
#include "lib/model/families.h"

namespace ftd {
namespace {

// Returns what an extent is in a model. head_dim need not be hidden_size / heads, so queries may be
// wider or narrower than the hidden state.
int64_t SizeOf(const ModelConfig& c, Extent extent) {
  switch (extent) {
    case Extent::kNone:
      return 0;
    case Extent::kVocab:
      return c.vocab_size;
    case Extent::kHidden:
      return c.hidden_size;
    case Extent::kQueries:
      return c.num_attention_heads * c.head_dim;
    case Extent::kKeysOrValues:
      return c.num_key_value_heads * c.head_dim;
    case Extent::kQueriesKeysValues:
      return (c.num_attention_heads + 2 * c.num_key_value_heads) * c.head_dim;
    case Extent::kHeadDim:
      return c.head_dim;
    case Extent::kIntermediate:
      return c.intermediate_size;
    case Extent::kGateAndUp:
      return 2 * c.intermediate_size;
    case Extent::kQueriesAndGates:
      return 2 * c.num_attention_heads * c.head_dim;
    case Extent::kDeltaChannels:
      return c.delta.channels();
    case Extent::kDeltaValues:
      return c.delta.values();
    case Extent::kDeltaHeads:
      return c.delta.value_heads;
    case Extent::kDeltaValueDim:
      return c.delta.value_dim;
    case Extent::kDeltaTaps:
      return c.delta.taps;
  }
  return 0;
}

// Returns whether a role exists once per layer. The enum's order is part of its meaning: the roles
// of a layer lie together.
bool IsInLayer(ParameterRole role) {
  return role >= ParameterRole::kAttentionInputNorm && role <= ParameterRole::kMlpOutputNorm;
}

// Returns whether the row is a matrix within a layer: the one kind that takes adapters and NF4.
bool IsProjection(const ParameterRow& row) {
  return IsInLayer(row.role) && row.columns != Extent::kNone && row.columns != Extent::kDeltaTaps;
}

// Returns a tensor's name within its layer.
std::string NameOf(const ParameterRow& row, const TensorRow& tensor) {
  return std::string(tensor.path).append(row.suffix);
}

bool IsPresent(const ParameterRow& row, const ModelConfig& config, int64_t layer) {
  const bool delta = config.KindOf(layer).delta;
  switch (row.presence) {
    case Presence::kAlways:
      return true;
    case Presence::kAttention:
      return !delta;
    case Presence::kDelta:
      return delta;
    case Presence::kAttentionBias:
      return config.attention_bias && !delta;
    case Presence::kMlpBias:
      return config.mlp_bias;
  }
  return true;
}

// Returns the name in the model's files of a tensor with that name of its own.
std::string InFiles(const ModelConfig& config, const std::string& name) {
  const std::string& own = config.own_tensor_prefix;
  return name.starts_with(own) ? config.tensor_prefix + name.substr(own.size()) : name;
}

// Returns a row of the family's table with the model's sizes and the layer's number put in.
ParameterInfo InfoOf(const ModelConfig& config, const ParameterRow& row, int64_t layer) {
  std::string prefix;
  if (layer >= 0) prefix = std::string(config.family->layer_prefix) + std::to_string(layer) + ".";
  ParameterInfo info{.role = row.role, .layer = layer, .is_projection = IsProjection(row)};
  // transformers' Trainer exempts norms and biases by name; they are all vectors but one.
  info.decays = row.columns != Extent::kNone || row.role == ParameterRole::kDeltaDecay;
  for (const TensorRow& tensor : row.tensors) {
    if (tensor.path.empty()) continue;
    std::vector<int64_t> shape = {SizeOf(config, tensor.rows)};
    if (row.columns == Extent::kDeltaTaps) shape.push_back(1);
    if (row.columns != Extent::kNone) shape.push_back(SizeOf(config, row.columns));
    info.tensors.push_back({InFiles(config, prefix + NameOf(row, tensor)), std::move(shape)});
  }
  return info;
}

using Rows = absl::Span<const ParameterRow>;
using Visit = std::function<absl::Status(const ParameterInfo&)>;

// A family's table has the embedding, then one layer, then what follows the last layer.
struct Table {
  Rows before, layer, after;
};

Table TableOf(const Family& family) {
  const Rows rows = family.parameters;
  const auto in_layer = [](const ParameterRow& row) { return IsInLayer(row.role); };
  const auto first = std::find_if(rows.begin(), rows.end(), in_layer);
  const auto last = std::find_if_not(first, rows.end(), in_layer);
  const size_t before = first - rows.begin(), layer = last - first;
  return {rows.first(before), rows.subspan(before, layer), rows.subspan(before + layer)};
}

absl::Status VisitRows(const ModelConfig& config, Rows rows, int64_t layer, const Visit& visit) {
  for (const ParameterRow& row : rows) {
    if (layer >= 0 && !IsPresent(row, config, layer)) continue;
    // A tied head is the embedding. Files may hold lm_head.weight all the same; it is not read.
    if (row.role == ParameterRole::kHead && config.tie_word_embeddings) continue;
    FTD_RETURN_IF_ERROR(visit(InfoOf(config, row, layer)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status VisitParameters(const ModelConfig& config, const Visit& visit) {
  const Table table = TableOf(*config.family);
  FTD_RETURN_IF_ERROR(VisitRows(config, table.before, -1, visit));
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer)
    FTD_RETURN_IF_ERROR(VisitRows(config, table.layer, layer, visit));
  return VisitRows(config, table.after, -1, visit);
}

absl::Status VisitLayer(const ModelConfig& config, int64_t layer, const Visit& visit) {
  const Table table = TableOf(*config.family);
  if (layer >= 0) return VisitRows(config, table.layer, layer, visit);
  FTD_RETURN_IF_ERROR(VisitRows(config, table.before, -1, visit));
  return VisitRows(config, table.after, -1, visit);
}

std::vector<std::string> TargetModulesOf(const Family& family) {
  std::vector<std::string> modules;
  for (const ParameterRow& row : family.parameters) {
    if (!IsProjection(row)) continue;
    for (const TensorRow& tensor : row.tensors) {
      if (!tensor.path.empty()) modules.emplace_back(ModuleOf(NameOf(row, tensor)));
    }
  }
  return modules;
}

const std::vector<std::string>& AllTargetModules() {
  static const std::vector<std::string> all = [] {
    std::vector<std::string> modules;
    for (const Family& family : Families()) {
      for (std::string& module : TargetModulesOf(family)) {
        // A linear search keeps the order of the computation, which a set would lose.
        if (std::find(modules.begin(), modules.end(), module) == modules.end())
          modules.push_back(std::move(module));
      }
    }
    return modules;
  }();
  return all;
}

std::string TensorNameOf(const ModelConfig& config, ParameterRole role) {
  for (const ParameterRow& row : config.family->parameters) {
    if (row.role == role) return InfoOf(config, row, -1).tensors[0].name;
  }
  return {};
}

// The last component but one: ".weight" is cut off, then everything up to the last dot.
std::string_view ModuleOf(std::string_view weight_name) {
  const std::string_view path = weight_name.substr(0, weight_name.rfind('.'));
  return path.substr(path.rfind('.') + 1);
}

// The prefix stands for the wrappers that PEFT saves with: PeftModel.base_model, LoraModel.model.
// transformers names the text part of a model with images otherwise than its files do.
std::string AdapterTensorName(std::string_view weight_name, std::string_view which) {
  constexpr std::string_view kInFiles = "language_model.model.";
  std::string name = "base_model.model.";
  if (weight_name.starts_with(kInFiles)) {
    name.append("model.language_model.");
    weight_name.remove_prefix(kInFiles.size());
  }
  name.append(weight_name.substr(0, weight_name.rfind('.')));
  return name.append(".").append(which).append(".weight");
}

}  // namespace ftd
