// Reads lines of JSON, {"config": a config.json, "longest": [tokens]}, and writes what ftd takes
// the model for: {"error"} or its traits, its layers, its parameters, and the frequencies of its
// rotary embeddings. For config_parity_test.py.
#include <ATen/core/Tensor.h>

#include <iostream>
#include <string>
#include <vector>

#include "lib/model/architecture.h"
#include "lib/model/model_config.h"
#include "nlohmann/json.hpp"
#include "worker/engine/ops/rope/rope.h"

namespace ftd {
namespace {

using Json = nlohmann::json;

Json FrequenciesOf(const RopeConfig& rope, const Json& longest) {
  Json all = Json::array();
  for (const Json& tokens : longest) {
    const at::Tensor f = engine::RopeFrequencies(rope, tokens.get<int64_t>());
    all.push_back(std::vector<float>(f.data_ptr<float>(), f.data_ptr<float>() + f.numel()));
  }
  return {{"frequencies", all}, {"attention_factor", rope.attention_factor}};
}

Json ParametersOf(const ModelConfig& config) {
  Json shapes = Json::object();
  VisitParameters(config, [&](const ParameterInfo& info) {
    for (const TensorInfo& tensor : info.tensors) shapes[tensor.name] = tensor.shape;
    return absl::OkStatus();
  }).IgnoreError();
  return shapes;
}

Json Describe(const Json& line) {
  const auto parsed = ParseModelConfig(line.at("config").dump());
  if (!parsed.ok()) return {{"error", std::string(parsed.status().message())}};
  const ModelConfig& c = *parsed;
  Json layers = Json::array();
  for (int64_t i = 0; i < c.num_hidden_layers; ++i) {
    const LayerKind& kind = c.KindOf(i);
    layers.push_back({{"window", kind.window},
                      {"rotates", kind.rotates},
                      {"rope", kind.local_rope ? "local" : "full"},
                      {"delta", kind.delta}});
  }
  return {{"layers", layers},
          {"parameters", ParametersOf(c)},
          {"full", FrequenciesOf(c.rope, line.at("longest"))},
          {"local", FrequenciesOf(c.local_rope, line.at("longest"))},
          {"interleaved", c.rope_interleaved},
          {"rms_norm_eps", c.rms_norm_eps},
          {"norm", static_cast<int>(c.norm)},
          {"activation", c.activation == Activation::kSilu ? "silu" : "gelu"},
          {"tied", c.tie_word_embeddings},
          {"attention_scale", c.attention_scale},
          {"attention_softcap", c.attention_softcap},
          {"logits_softcap", c.logits_softcap},
          {"query_scale_beta", c.query_scale_beta},
          {"embedding_multiplier", c.embedding_multiplier},
          {"residual_multiplier", c.residual_multiplier},
          {"logits_divisor", c.logits_divisor},
          {"pad_token_id", c.pad_token_id}};
}

}  // namespace
}  // namespace ftd

int main() {
  for (std::string line; std::getline(std::cin, line);)
    std::cout << ftd::Describe(nlohmann::json::parse(line)).dump() << "\n" << std::flush;
}
