#include "lib/spec/judge.h"

#include "lib/model/architecture.h"
#include "lib/model/families.h"
#include "lib/model/safetensors_writer.h"
#include "tests/support/expect_status.h"
#include "tests/support/small_tokenizer.h"
#include "tests/support/temp_dir.h"

namespace ftd {
namespace {

using nlohmann::json;
// A whole little Llama: 263 tokens, hidden 8, one layer, 2 heads over 1 kv head, intermediate 12.
class JudgeTest : public testing::Test {
 protected:
  JudgeTest() {
    dir_.Write("tokenizer.json", SmallTokenizer().dump());
    WriteConfig(json::object());
    WriteWeights({});
  }

  void WriteConfig(const json& patch) {
    json config = {{"model_type", "llama"},   {"vocab_size", 263},      {"hidden_size", 8},
                   {"intermediate_size", 12}, {"num_hidden_layers", 1}, {"num_attention_heads", 2},
                   {"num_key_value_heads", 1}};
    config.update(patch);
    dir_.Write("config.json", config.dump());
  }

  // Writes model.safetensors; a shape in `patch` replaces one, an empty one drops the tensor.
  void WriteWeights(const std::map<std::string, std::vector<int64_t>>& patch,
                    TensorDtype dtype = TensorDtype::kF16) {
    std::map<std::string, std::vector<int64_t>> shapes = {
        {"model.embed_tokens.weight", {263, 8}},
        {"model.norm.weight", {8}},
        {"lm_head.weight", {263, 8}},
        {"model.layers.0.input_layernorm.weight", {8}},
        {"model.layers.0.post_attention_layernorm.weight", {8}},
        {"model.layers.0.self_attn.q_proj.weight", {8, 8}},
        {"model.layers.0.self_attn.k_proj.weight", {4, 8}},
        {"model.layers.0.self_attn.v_proj.weight", {4, 8}},
        {"model.layers.0.self_attn.o_proj.weight", {8, 8}},
        {"model.layers.0.mlp.gate_proj.weight", {12, 8}},
        {"model.layers.0.mlp.up_proj.weight", {12, 8}},
        {"model.layers.0.mlp.down_proj.weight", {8, 12}}};
    for (const auto& [name, shape] : patch) shapes[name] = shape;
    Write("model.safetensors", shapes, dtype);
  }

  void Write(const char* name, const std::map<std::string, std::vector<int64_t>>& shapes,
             TensorDtype dtype) {
    const std::string zeros(1 << 16, '\0');
    std::vector<TensorToWrite> tensors;
    for (const auto& [tensor, shape] : shapes) {
      if (shape.empty()) continue;
      size_t bytes = TensorDtypeSize(dtype);
      for (const int64_t extent : shape) bytes *= static_cast<size_t>(extent);
      tensors.push_back({tensor, {dtype, shape, std::string_view(zeros).substr(0, bytes)}});
    }
    std::filesystem::remove(dir_ / name);
    EXPECT_OK(WriteSafetensors(dir_ / name, tensors, {}));
  }

  absl::Status Judge() const { return JudgeModel(dir_.path()).status(); }

  TempDir dir_;
};

TEST_F(JudgeTest, AWholeModelPasses) {
  EXPECT_OK(Judge());
  WriteConfig({{"tie_word_embeddings", true}});
  WriteWeights({{"lm_head.weight", {}}});
  EXPECT_OK(Judge());
}

TEST_F(JudgeTest, FilesThatDisagree) {
  WriteWeights({{"model.layers.0.self_attn.k_proj.weight", {8, 8}}});
  EXPECT_ERROR(Judge(), kPrecondition, "MODEL_CORRUPT", "k_proj");
  WriteWeights({{"model.norm.weight", {}}});
  EXPECT_ERROR(Judge(), kPrecondition, "MODEL_CORRUPT", "model.norm.weight");
  WriteWeights({{"lm_head.weight", {}}});
  EXPECT_ERROR(Judge(), kPrecondition, "MODEL_CORRUPT", "lm_head.weight");
  WriteWeights({}, TensorDtype::kI32);
  EXPECT_ERROR(Judge(), kPrecondition, "MODEL_UNSUPPORTED", "I32");
  WriteWeights({});
  WriteConfig({{"vocab_size", 262}});
  EXPECT_FALSE(Judge().ok());
  WriteConfig({{"num_hidden_layers", 60000}});
  EXPECT_ERROR(Judge(), kPrecondition, "MODEL_CORRUPT", "layers.1");
  WriteConfig({{"num_hidden_layers", 2147483648}});
  EXPECT_ERROR(Judge(), kPrecondition, "MODEL_CORRUPT", "num_hidden_layers");
}

TEST_F(JudgeTest, TargetModulesAreTheModels) {
  ModelConfig model;
  model.family = FindFamily("phi3");
  LoraSpec lora;
  lora.target_modules = AllTargetModules();
  EXPECT_OK(BindTargetModules(model, &lora));
  EXPECT_EQ(lora.target_modules, TargetModulesOf(*model.family));
  EXPECT_OK(BindTargetModules(model, &lora));
  lora.target_modules = {"o_proj"};
  EXPECT_OK(BindTargetModules(model, &lora));
  EXPECT_THAT(lora.target_modules, testing::ElementsAre("o_proj"));
  lora.target_modules = {"o_proj", "q_proj"};
  EXPECT_ERROR(BindTargetModules(model, &lora), absl::StatusCode::kInvalidArgument, "FIELD_INVALID",
               "q_proj, which a model of the type phi3 lacks; it has qkv_proj, o_proj");
}

TEST_F(JudgeTest, OnlyQloraTrainsAQuantisedModel) {
  ModelConfig model;
  for (const Mode mode : {Mode::kLora, Mode::kFull, Mode::kQlora})
    EXPECT_OK(JudgeMode(dir_.path(), model, mode));
  model.nf4 = true;
  EXPECT_OK(JudgeMode(dir_.path(), model, Mode::kQlora));
  for (const Mode mode : {Mode::kLora, Mode::kFull}) {
    EXPECT_ERROR(JudgeMode(dir_.path(), model, mode), kPrecondition, "MODEL_UNSUPPORTED",
                 "--mode qlora");
  }
}

TEST_F(JudgeTest, AProjectionWithoutItsQuantisationMustBePlain) {
  WriteConfig({{"quantization_config",
                {{"quant_method", "bitsandbytes"},
                 {"load_in_4bit", true},
                 {"bnb_4bit_quant_type", "nf4"}}}});
  EXPECT_OK(Judge());  // all were left as they are
  WriteWeights({{"model.layers.0.self_attn.k_proj.weight", {16, 1}}});
  EXPECT_ERROR(Judge(), kPrecondition, "MODEL_CORRUPT", "k_proj");
}

TEST_F(JudgeTest, MissingFiles) {
  for (const char* name : {"config.json", "model.safetensors", "tokenizer.json"}) {
    std::filesystem::rename(dir_ / name, dir_ / "aside");
    EXPECT_ERROR(Judge(), absl::StatusCode::kNotFound, "MODEL_NOT_FOUND", name);
    std::filesystem::rename(dir_ / "aside", dir_ / name);
  }
  EXPECT_ERROR(JudgeModel("/nowhere/model"), absl::StatusCode::kNotFound, "MODEL_NOT_FOUND",
               "/nowhere/model");
}

TEST_F(JudgeTest, AnAdapterMustFitModelAndJob) {
  const auto model = JudgeModel(dir_.path());
  ASSERT_OK(model);
  LoraSpec lora;
  lora.rank = 2;
  lora.target_modules = {"q_proj", "down_proj"};
  const std::string base = "base_model.model.model.layers.0.";
  const std::map<std::string, std::vector<int64_t>> shapes = {
      {base + "self_attn.q_proj.lora_A.weight", {2, 8}},
      {base + "self_attn.q_proj.lora_B.weight", {8, 2}},
      {base + "mlp.down_proj.lora_A.weight", {2, 12}},
      {base + "mlp.down_proj.lora_B.weight", {8, 2}}};
  const json config = {{"peft_type", "LORA"},
                       {"r", 2},
                       {"lora_alpha", 16},
                       {"target_modules", {"q_proj", "down_proj"}}};
  const auto judge = [&](const json& patch,
                         const std::map<std::string, std::vector<int64_t>>& tensors) {
    json patched = config;
    patched.update(patch);
    dir_.Write("adapter_config.json", patched.dump());
    Write("adapter_model.safetensors", tensors, TensorDtype::kF32);
    return JudgeAdapter(dir_.path(), *model, lora);
  };
  EXPECT_OK(judge(json::object(), shapes));
  EXPECT_ERROR(judge({{"peft_type", "IA3"}}, shapes), kPrecondition, "ADAPTER_MISMATCH", "LORA");
  EXPECT_ERROR(judge({{"r", 4}}, shapes), kPrecondition, "ADAPTER_MISMATCH", "rank is 4");
  for (const json& rank : {json(1e80), json("two"), json(2.0), json(-3), json()}) {
    EXPECT_ERROR(judge({{"r", rank}}, shapes), kPrecondition, "ADAPTER_MISMATCH",
                 "adapter_config.json");
  }
  EXPECT_ERROR(judge({{"lora_alpha", 8}}, shapes), kPrecondition, "ADAPTER_MISMATCH", "lora_alpha");
  EXPECT_ERROR(judge({{"use_dora", true}}, shapes), kPrecondition, "ADAPTER_MISMATCH", "use_dora");
  EXPECT_ERROR(judge({{"use_rslora", true}}, shapes), kPrecondition, "ADAPTER_MISMATCH",
               "pass --use-rslora");
  lora.use_rslora = true;
  EXPECT_OK(judge({{"use_rslora", true}}, shapes));
  EXPECT_ERROR(judge(json::object(), shapes), kPrecondition, "ADAPTER_MISMATCH", "leave out");
  lora.use_rslora = false;
  auto other = shapes;
  other[base + "self_attn.q_proj.lora_A.weight"] = {2, 9};
  EXPECT_ERROR(judge(json::object(), other), kPrecondition, "MODEL_CORRUPT", "q_proj.lora_A");
  other = shapes;
  other[base + "mlp.up_proj.lora_A.weight"] = {2, 8};
  EXPECT_ERROR(judge(json::object(), other), kPrecondition, "ADAPTER_MISMATCH", "up_proj");
  std::filesystem::remove(dir_ / "adapter_config.json");
  EXPECT_ERROR(JudgeAdapter(dir_.path(), *model, lora), absl::StatusCode::kNotFound,
               "MODEL_NOT_FOUND", "adapter_config");
}

}  // namespace
}  // namespace ftd
