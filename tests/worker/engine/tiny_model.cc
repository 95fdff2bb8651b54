#include "tests/worker/engine/tiny_model.h"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "lib/base/file.h"
#include "lib/model/architecture.h"
#include "lib/model/safetensors_writer.h"
#include "nlohmann/json.hpp"

namespace ftd::testing {
namespace {

constexpr int kTokens = 64;  // that rows are made of

nlohmann::json Config(const TinyShape& shape) {
  nlohmann::json config = {{"model_type", shape.family},
                           {"attention_bias", shape.biases},
                           {"mlp_bias", shape.biases},
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
                           {"eos_token_id", 0},
                           {"pad_token_id", nullptr}};
  config.update(shape.options.is_null() ? nlohmann::json::object() : shape.options);
  return config;
}

}  // namespace

TinyShape DeltaShapeOf(int layers) {
  return {.layers = layers,
          .hidden = 64,
          .inner = 96,
          .family = "qwen3_5_text",
          .options = {{"full_attention_interval", layers},
                      {"linear_num_key_heads", 2},
                      {"linear_num_value_heads", 6},
                      {"linear_key_head_dim", 8},
                      {"linear_value_head_dim", 16}}};
}

void WriteTinyModel(const std::filesystem::path& dir, uint32_t seed, const TinyShape& shape) {
  std::filesystem::create_directories(dir);
  const nlohmann::json document = Config(shape);
  ASSERT_TRUE(WriteFileAtomically(dir / "config.json", document.dump()).ok());
  const auto config = ParseModelConfig(document.dump());
  ASSERT_TRUE(config.ok()) << config.status();
  std::mt19937 random(seed);
  std::map<std::string, std::vector<float>> data;
  std::vector<TensorToWrite> tensors;
  auto add = [&](const TensorInfo& tensor, float mean, float spread) {
    int64_t count = 1;
    for (int64_t extent : tensor.shape) count *= extent;
    std::normal_distribution<float> normal(mean, spread);
    std::vector<float>& values = data[tensor.name];
    for (int64_t i = 0; i < count; ++i) values.push_back(normal(random));
    const std::string_view bytes(reinterpret_cast<const char*>(values.data()),
                                 values.size() * sizeof(float));
    tensors.push_back({tensor.name, {TensorDtype::kF32, tensor.shape, bytes}});
  };
  std::vector<ParameterInfo> infos;
  ASSERT_TRUE(VisitParameters(*config, [&](const ParameterInfo& info) {
                infos.push_back(info);
                return absl::OkStatus();
              }).ok());
  // The numbers are drawn in this order: what is outside the layers, and a layer's norms, first.
  std::stable_sort(infos.begin(), infos.end(), [](const auto& a, const auto& b) {
    if (a.layer != b.layer || a.layer < 0) return a.layer < b.layer;
    return !a.decays && b.decays;
  });
  for (const ParameterInfo& info : infos) {
    for (const TensorInfo& tensor : info.tensors) {
      if (tensor.name.find("norm") != std::string::npos) {
        const bool offset =
            config->norm == NormKind::kOffset && info.role != ParameterRole::kDeltaNorm;
        add(tensor, offset ? 0 : 1, 0.1F);
      } else {
        add(tensor, 0, info.role == ParameterRole::kEmbedding ? 0.5F : 0.2F);
      }
    }
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
