// The names and shapes are those of transformers' LlamaForCausalLM(config).state_dict().
#include "lib/model/architecture.h"

#include <gtest/gtest.h>

#include <map>

#include "lib/model/families.h"
#include "tests/support/expect_status.h"

namespace ftd {
namespace {

using Shape = std::vector<int64_t>;

ModelConfig TwoLayers(bool tied) {
  ModelConfig config;
  config.family = FindFamily("llama");
  config.vocab_size = 100;
  config.hidden_size = 24;
  config.intermediate_size = 40;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 4;
  config.num_key_value_heads = 2;
  config.head_dim = 8;
  config.tie_word_embeddings = tied;
  return config;
}

std::map<std::string, Shape> TensorsOf(const ModelConfig& config) {
  std::map<std::string, Shape> tensors;
  EXPECT_OK(VisitParameters(config, [&](const ParameterInfo& info) {
    for (const TensorInfo& tensor : info.tensors)
      EXPECT_TRUE(tensors.emplace(tensor.name, tensor.shape).second) << tensor.name;
    return absl::OkStatus();
  }));
  return tensors;
}

TEST(Architecture, TensorsAreTransformers) {
  std::map<std::string, Shape> expected = {{"model.embed_tokens.weight", {100, 24}},
                                           {"model.norm.weight", {24}}};
  for (const std::string layer : {"model.layers.0.", "model.layers.1."}) {
    expected[layer + "input_layernorm.weight"] = {24};
    expected[layer + "self_attn.q_proj.weight"] = {32, 24};
    expected[layer + "self_attn.k_proj.weight"] = {16, 24};
    expected[layer + "self_attn.v_proj.weight"] = {16, 24};
    expected[layer + "self_attn.o_proj.weight"] = {24, 32};
    expected[layer + "post_attention_layernorm.weight"] = {24};
    expected[layer + "mlp.gate_proj.weight"] = {40, 24};
    expected[layer + "mlp.up_proj.weight"] = {40, 24};
    expected[layer + "mlp.down_proj.weight"] = {24, 40};
  }
  EXPECT_EQ(TensorsOf(TwoLayers(/*tied=*/true)), expected);
  expected["lm_head.weight"] = {100, 24};
  EXPECT_EQ(TensorsOf(TwoLayers(/*tied=*/false)), expected);
}

// Of Qwen3_5ForConditionalGeneration, whose text part has a layer of each kind.
TEST(Architecture, TensorsOfAPartWithTwoKindsOfLayers) {
  const auto config = ParseModelConfig(R"({"model_type": "qwen3_5", "tie_word_embeddings": false,
      "text_config": {"model_type": "qwen3_5_text", "vocab_size": 100, "hidden_size": 24,
        "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 8, "full_attention_interval": 2,
        "linear_num_key_heads": 2, "linear_num_value_heads": 6, "linear_key_head_dim": 3,
        "linear_value_head_dim": 5}})");
  ASSERT_OK(config.status());
  const std::string layer0 = "model.language_model.layers.0.",
                    layer1 = "model.language_model.layers.1.";
  std::map<std::string, Shape> expected = {
      {"lm_head.weight", {100, 24}},
      {"model.language_model.embed_tokens.weight", {100, 24}},
      {"model.language_model.norm.weight", {24}},
      {layer0 + "linear_attn.in_proj_qkv.weight", {42, 24}},
      {layer0 + "linear_attn.in_proj_z.weight", {30, 24}},
      {layer0 + "linear_attn.in_proj_b.weight", {6, 24}},
      {layer0 + "linear_attn.in_proj_a.weight", {6, 24}},
      {layer0 + "linear_attn.conv1d.weight", {42, 1, 4}},
      {layer0 + "linear_attn.A_log", {6}},
      {layer0 + "linear_attn.dt_bias", {6}},
      {layer0 + "linear_attn.norm.weight", {5}},
      {layer0 + "linear_attn.out_proj.weight", {24, 30}},
      {layer1 + "self_attn.q_proj.weight", {64, 24}},
      {layer1 + "self_attn.k_proj.weight", {16, 24}},
      {layer1 + "self_attn.v_proj.weight", {16, 24}},
      {layer1 + "self_attn.q_norm.weight", {8}},
      {layer1 + "self_attn.k_norm.weight", {8}},
      {layer1 + "self_attn.o_proj.weight", {24, 32}},
  };
  for (const std::string& layer : {layer0, layer1}) {
    expected[layer + "input_layernorm.weight"] = {24};
    expected[layer + "post_attention_layernorm.weight"] = {24};
    expected[layer + "mlp.gate_proj.weight"] = {40, 24};
    expected[layer + "mlp.up_proj.weight"] = {40, 24};
    expected[layer + "mlp.down_proj.weight"] = {24, 40};
  }
  EXPECT_EQ(TensorsOf(*config), expected);
  EXPECT_EQ(TensorNameOf(*config, ParameterRole::kHead), "lm_head.weight");
  // As transformers' Trainer decays them: by name, so that A_log does.
  std::vector<std::string> decaying;
  EXPECT_OK(VisitParameters(*config, [&](const ParameterInfo& info) {
    if (info.layer == 0 && info.decays && !info.is_projection)
      decaying.push_back(info.tensors[0].name);
    return absl::OkStatus();
  }));
  EXPECT_EQ(decaying, (std::vector<std::string>{layer0 + "linear_attn.conv1d.weight",
                                                layer0 + "linear_attn.A_log"}));
}

TEST(Architecture, ProjectionsAndDecay) {
  std::vector<std::string> projections, spared;
  EXPECT_OK(VisitParameters(TwoLayers(/*tied=*/false), [&](const ParameterInfo& info) {
    if (info.is_projection && info.layer == 1) projections.push_back(info.tensors[0].name);
    if (!info.decays) spared.push_back(info.tensors[0].name);
    EXPECT_EQ(info.is_projection, info.layer >= 0 && info.decays);
    return absl::OkStatus();
  }));
  EXPECT_EQ(projections,
            (std::vector<std::string>{
                "model.layers.1.self_attn.q_proj.weight", "model.layers.1.self_attn.o_proj.weight",
                "model.layers.1.mlp.gate_proj.weight", "model.layers.1.mlp.down_proj.weight"}));
  EXPECT_EQ(spared.size(), 5);  // two norms a layer and the last one
}

TEST(Architecture, AVisitEndsWithTheFirstError) {
  ModelConfig config = TwoLayers(/*tied=*/false);
  config.num_hidden_layers = int64_t{1} << 31;
  int64_t visits = 0;
  const absl::Status status = VisitParameters(config, [&](const ParameterInfo&) {
    return ++visits == 10 ? absl::InternalError("enough") : absl::OkStatus();
  });
  EXPECT_EQ(status.message(), "enough");
  EXPECT_EQ(visits, 10);
}

TEST(Architecture, NamesOfModulesAndAdapters) {
  const std::vector<std::string> llamas = {"q_proj",    "k_proj",  "v_proj",   "o_proj",
                                           "gate_proj", "up_proj", "down_proj"};
  EXPECT_EQ(TargetModulesOf(*FindFamily("llama")), llamas);
  EXPECT_EQ(TargetModulesOf(*FindFamily("phi3")),
            (std::vector<std::string>{"qkv_proj", "o_proj", "gate_up_proj", "down_proj"}));
  std::vector<std::string> all = llamas;
  all.insert(all.end(), {"qkv_proj", "gate_up_proj", "in_proj_qkv", "in_proj_z", "in_proj_b",
                         "in_proj_a", "out_proj"});
  EXPECT_EQ(AllTargetModules(), all);
  EXPECT_EQ(ModuleOf("model.layers.31.self_attn.q_proj.weight"), "q_proj");
  EXPECT_EQ(ModuleOf("lm_head.weight"), "lm_head");
  // As PEFT writes them to adapter_model.safetensors.
  EXPECT_EQ(AdapterTensorName("model.layers.31.mlp.up_proj.weight", "lora_B"),
            "base_model.model.model.layers.31.mlp.up_proj.lora_B.weight");
}

}  // namespace
}  // namespace ftd
