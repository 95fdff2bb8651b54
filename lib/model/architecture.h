// A model as a list: its parameters, and the tensors of its files that they are read from. The
// judge, the loader, adapters and the exporter walk this list; how a family names its tensors
// stands in families.cc and nowhere else.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "lib/model/model_config.h"

namespace ftd {

// The place of a parameter in a model. Those from kAttentionInputNorm to kMlpOutputNorm exist once
// per layer.
enum class ParameterRole {
  kEmbedding,            // [V, D]; also the head when tied
  kAttentionInputNorm,   // [D]
  kQkv,                  // [(N+2K)·H, D], or more: all that the layer's mixing of tokens reads
  kQkvBias,              // [(N+2K)·H]
  kQueryNorm,            // [H], of each query head; or [N·H], of all together
  kKeyNorm,              // [H], of each key head; or [K·H]
  kAttentionOut,         // [D, N·H]
  kAttentionOutBias,     // [D]
  kAttentionOutputNorm,  // [D], of what attention adds to the hidden state
  kDeltaConv,            // [2·keys + values, 1, taps]
  kDeltaDecay,           // [value heads]: A_log
  kDeltaStepBias,        // [value heads]: dt_bias
  kDeltaNorm,            // [value dim]
  kMlpInputNorm,         // [D]
  kGateUp,               // [2F, D]
  kGateUpBias,           // [2F]
  kDown,                 // [D, F]
  kDownBias,             // [D]
  kMlpOutputNorm,        // [D], of what the feed-forward block adds
  kFinalNorm,            // [D]
  kHead,                 // [V, D]; absent when tied
};

// A tensor of the model's files.
struct TensorInfo {
  std::string name;  // "model.layers.0.self_attn.q_proj.weight"
  std::vector<int64_t> shape;
};

// A parameter: one tensor, or several that read the same input, stacked by rows.
struct ParameterInfo {
  ParameterRole role;
  int64_t layer = -1;  // -1: outside the layers
  std::vector<TensorInfo> tensors;
  bool is_projection = false;  // a linear map of a layer: it takes adapters and may be quantised
  bool decays = false;         // AdamW's weight decay applies: to matrices, not to norms and biases
};

// Calls `visit` for every parameter in the order of the forward pass, until it returns an error.
// One at a time, because config.json may claim any number of layers.
absl::Status VisitParameters(const ModelConfig& config,
                             const std::function<absl::Status(const ParameterInfo&)>& visit);

// Does the same for the parameters of one layer, or, where it is -1, for those outside the layers.
absl::Status VisitLayer(const ModelConfig& config, int64_t layer,
                        const std::function<absl::Status(const ParameterInfo&)>& visit);

// Returns the modules of a family's layers that can carry an adapter, in the order of the
// computation: the meaning of "all-linear".
std::vector<std::string> TargetModulesOf(const Family& family);

// Returns the modules of all families.
const std::vector<std::string>& AllTargetModules();

// Returns the name of the tensor of a role that has one outside the layers.
std::string TensorNameOf(const ModelConfig& config, ParameterRole role);

// Returns the module of a weight as lora.target_modules and PEFT name it: "q_proj" of
// "model.layers.0.self_attn.q_proj.weight".
std::string_view ModuleOf(std::string_view weight_name);

// Returns PEFT's name of the tensor `which`, lora_A or lora_B, that belongs to a weight.
std::string AdapterTensorName(std::string_view weight_name, std::string_view which);

}  // namespace ftd
