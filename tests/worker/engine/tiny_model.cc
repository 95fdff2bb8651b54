#include "tests/worker/engine/tiny_model.h"

#include <unistd.h>

#include <map>
#include <random>
#include <string>

#include "gtest/gtest.h"
#include "lib/base/file.h"
#include "lib/model/safetensors.h"
#include "nlohmann/json.hpp"

namespace ftd::testing {
namespace {

constexpr int kTokens = 64;  // that rows are made of

nlohmann::json Config(const TinyShape& shape) {
  return {{"model_type", shape.qwen3 ? "qwen3" : "llama"},
          {"attention_bias", shape.qwen3},
          {"head_dim", shape.hidden / shape.heads},
          {"vocab_size", shape.vocabulary},
          {"hidden_size", shape.hidden},
          {"intermediate_size", shape.inner},
          {"num_hidden_layers", shape.layers},
          {"num_attention_heads", shape.heads},
          {"num_key_value_heads", shape.kv_heads},
          {"max_position_embeddings", 128},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", 10000.0},
          {"tie_word_embeddings", true},
          {"eos_token_id", 0}};
}

}  // namespace

void WriteTinyModel(const std::filesystem::path& dir, uint32_t seed, const TinyShape& shape) {
  std::filesystem::create_directories(dir);
  ASSERT_TRUE(WriteFileAtomically(dir / "config.json", Config(shape).dump()).ok());
  const int hidden = shape.hidden, inner = shape.inner;
  const int keys = hidden / shape.heads * shape.kv_heads;
  std::mt19937 random(seed);
  std::map<std::string, std::vector<float>> data;
  std::vector<TensorToWrite> tensors;
  auto add = [&](const std::string& name, std::vector<int64_t> extents, float mean, float spread) {
    int64_t count = 1;
    for (int64_t extent : extents) count *= extent;
    std::normal_distribution<float> normal(mean, spread);
    std::vector<float>& values = data[name];
    for (int64_t i = 0; i < count; ++i) values.push_back(normal(random));
    const std::string_view bytes(reinterpret_cast<const char*>(values.data()),
                                 values.size() * sizeof(float));
    tensors.push_back({name, {TensorDtype::kF32, std::move(extents), bytes}});
  };
  add("model.embed_tokens.weight", {shape.vocabulary, hidden}, 0, 0.5F);
  add("model.norm.weight", {hidden}, 1, 0.1F);
  for (int i = 0; i < shape.layers; ++i) {
    const std::string prefix = "model.layers." + std::to_string(i) + ".";
    add(prefix + "input_layernorm.weight", {hidden}, 1, 0.1F);
    add(prefix + "post_attention_layernorm.weight", {hidden}, 1, 0.1F);
    add(prefix + "self_attn.q_proj.weight", {hidden, hidden}, 0, 0.2F);
    add(prefix + "self_attn.k_proj.weight", {keys, hidden}, 0, 0.2F);
    add(prefix + "self_attn.v_proj.weight", {keys, hidden}, 0, 0.2F);
    add(prefix + "self_attn.o_proj.weight", {hidden, hidden}, 0, 0.2F);
    if (shape.qwen3) {
      add(prefix + "self_attn.q_proj.bias", {hidden}, 0, 0.2F);
      add(prefix + "self_attn.k_proj.bias", {keys}, 0, 0.2F);
      add(prefix + "self_attn.v_proj.bias", {keys}, 0, 0.2F);
      add(prefix + "self_attn.o_proj.bias", {hidden}, 0, 0.2F);
      add(prefix + "self_attn.q_norm.weight", {hidden / shape.heads}, 1, 0.1F);
      add(prefix + "self_attn.k_norm.weight", {hidden / shape.heads}, 1, 0.1F);
    }
    add(prefix + "mlp.gate_proj.weight", {inner, hidden}, 0, 0.2F);
    add(prefix + "mlp.up_proj.weight", {inner, hidden}, 0, 0.2F);
    add(prefix + "mlp.down_proj.weight", {hidden, inner}, 0, 0.2F);
  }
  ASSERT_TRUE(WriteSafetensors(dir / "model.safetensors", tensors, {{"format", "pt"}}).ok());
}

std::vector<TokenizedRow> RandomRows(int count, int longest, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<TokenizedRow> rows(static_cast<size_t>(count));
  for (TokenizedRow& row : rows) {
    const int length = std::uniform_int_distribution<int>(1, longest)(random);
    for (int i = 0; i < length; ++i) {
      row.input_ids.push_back(std::uniform_int_distribution<int>(0, kTokens - 1)(random));
    }
    row.labels = row.input_ids;
  }
  return rows;
}

TrainSpec TinySpec(Mode mode, int max_steps) {
  TrainSpec spec;
  spec.mode = mode;
  spec.batch_size = 2;
  spec.max_steps = max_steps;
  spec.learning_rate = 1e-2;
  spec.shuffle = false;
  spec.lora.rank = 4;
  spec.lora.target_modules = AllTargetModules();
  return spec;
}

}  // namespace ftd::testing
