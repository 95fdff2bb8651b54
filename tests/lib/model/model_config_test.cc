#include "lib/model/model_config.h"

#include "lib/base/concat.h"
#include "nlohmann/json.hpp"
#include "tests/support/expect_status.h"
#include "tests/support/temp_dir.h"

namespace ftd {
namespace {

using nlohmann::json;
// The shape of meta-llama/Llama-3.2-1B's config.json, as transformers 4 writes it.
json Version4() {
  return json::parse(
      R"({"architectures": ["LlamaForCausalLM"], "attention_bias": false, "bos_token_id": 128000,
    "eos_token_id": [128001, 128008, 128009], "head_dim": 64, "hidden_act": "silu", "hidden_size": 2048,
    "intermediate_size": 8192, "max_position_embeddings": 131072, "mlp_bias": false, "model_type": "llama",
    "num_attention_heads": 32, "num_hidden_layers": 16, "num_key_value_heads": 8, "rms_norm_eps": 1e-05,
    "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                     "original_max_position_embeddings": 8192, "rope_type": "llama3"},
    "rope_theta": 500000.0, "tie_word_embeddings": true, "torch_dtype": "bfloat16", "vocab_size": 128256})");
}

// The same as transformers 5 writes it.
json Version5() {
  json config = Version4();
  config["rope_parameters"] = config["rope_scaling"];
  config["rope_parameters"]["rope_theta"] = config["rope_theta"];
  config["dtype"] = config["torch_dtype"];
  for (const char* name : {"rope_scaling", "rope_theta", "torch_dtype"}) config.erase(name);
  return config;
}

TEST(ModelConfig, BothSpellingsSayTheSame) {
  for (const json& document : {Version4(), Version5()}) {
    const auto config = ParseModelConfig(document.dump());
    ASSERT_OK(config);
    EXPECT_EQ(config->vocab_size, 128256);
    EXPECT_EQ(config->hidden_size, 2048);
    EXPECT_EQ(config->num_hidden_layers, 16);
    EXPECT_EQ(config->num_key_value_heads, 8);
    EXPECT_EQ(config->head_dim, 64);
    EXPECT_EQ(config->rms_norm_eps, 1e-5);
    EXPECT_TRUE(config->tie_word_embeddings);
    EXPECT_EQ(config->rope.type, RopeConfig::Type::kLlama3);
    EXPECT_EQ(config->rope.theta, 500000.0);
    EXPECT_EQ(config->rope.factor, 32.0);
    EXPECT_EQ(config->rope.original_max_position_embeddings, 8192);
    EXPECT_EQ(config->eos_token_id, 128001);
  }
}

TEST(ModelConfig, DefaultsOfAnOldFile) {
  json document = Version4();
  for (const char* name : {"head_dim", "num_key_value_heads", "rope_scaling", "rope_theta",
                           "torch_dtype", "bos_token_id", "tie_word_embeddings", "rms_norm_eps"}) {
    document.erase(name);
  }
  document["eos_token_id"] = nullptr;
  const auto config = ParseModelConfig(document.dump());
  ASSERT_OK(config);
  EXPECT_EQ(config->head_dim, 64);
  EXPECT_EQ(config->num_key_value_heads, 32);
  EXPECT_EQ(config->rope.type, RopeConfig::Type::kDefault);
  EXPECT_EQ(config->rope.theta, 10000.0);
  EXPECT_EQ(config->rms_norm_eps, 1e-6);
  EXPECT_FALSE(config->tie_word_embeddings);
  EXPECT_EQ(config->eos_token_id, -1);
}

// Qwen2Config's and Qwen3Config's of transformers 5.23.
TEST(ModelConfig, DefaultsAreTheFamilys) {
  json document = Version4();
  for (const char* field : {"head_dim", "num_key_value_heads", "max_position_embeddings"})
    document.erase(field);
  document["num_attention_heads"] = 64;
  document["hidden_size"] = 4096;
  document["attention_bias"] = true;
  const struct {
    const char* model_type;
    int64_t kv_heads, head_dim, positions;
    bool bias;
  } kTable[] = {{"llama", 64, 64, 2048, true},
                {"qwen2", 32, 64, 32768, false},
                {"qwen3", 32, 128, 32768, true}};
  for (const auto& row : kTable) {
    SCOPED_TRACE(row.model_type);
    document["model_type"] = row.model_type;
    const auto config = ParseModelConfig(document.dump());
    ASSERT_OK(config);
    EXPECT_EQ(config->num_key_value_heads, row.kv_heads);
    EXPECT_EQ(config->head_dim, row.head_dim);
    EXPECT_EQ(config->max_position_embeddings, row.positions);
    EXPECT_EQ(config->attention_bias, row.bias);
  }
  document["num_key_value_heads"] = nullptr;
  EXPECT_EQ(ParseModelConfig(document.dump())->num_key_value_heads, 64);
}

// config_parity_test.py compares all families with transformers; here are the errors.
TEST(ModelConfig, WindowsThatCannotBeAreNamed) {
  json document = Version4();
  document["num_hidden_layers"] = 2;
  document["model_type"] = "qwen3";
  document["layer_types"] = {"full_attention", "sliding_attention"};
  EXPECT_ERROR(ParseModelConfig(document.dump()), kPrecondition, "MODEL_CORRUPT",
               "layer 1 has sliding attention, but sliding_window is not set");
  document["use_sliding_window"] = true;
  document["sliding_window"] = 7;
  EXPECT_EQ(ParseModelConfig(document.dump())->KindOf(0).window, 0);
  EXPECT_EQ(ParseModelConfig(document.dump())->KindOf(1).window, 7);
  document["layer_types"] = {"full_attention"};
  EXPECT_ERROR(ParseModelConfig(document.dump()), kPrecondition, "MODEL_CORRUPT", "layer_types");
  document["model_type"] = "llama";  // which does not read it
  EXPECT_OK(ParseModelConfig(document.dump()));
  document["model_type"] = "gemma2";
  document["layer_types"] = {"full_attention", "chunked_attention"};
  EXPECT_ERROR(ParseModelConfig(document.dump()), kPrecondition, "MODEL_UNSUPPORTED",
               "chunked_attention");
}

TEST(ModelConfig, LinearAttentionThatCannotBeIsNamed) {
  json document = Version4();
  document["model_type"] = "qwen3_5_text";
  document["num_hidden_layers"] = 2;
  document["layer_types"] = {"linear_attention", "full_attention"};
  const auto config = ParseModelConfig(document.dump());
  ASSERT_OK(config);
  EXPECT_TRUE(config->KindOf(0).delta);
  EXPECT_FALSE(config->KindOf(1).delta);
  document["layer_types"] = {"linear_attention", "sliding_attention"};
  EXPECT_ERROR(ParseModelConfig(document.dump()), kPrecondition, "MODEL_UNSUPPORTED",
               "supported are full_attention and linear_attention");
  document["layer_types"] = nullptr;
  document["linear_num_value_heads"] = 24;
  EXPECT_ERROR(ParseModelConfig(document.dump()), kPrecondition, "MODEL_CORRUPT",
               "linear_num_value_heads must be a multiple of linear_num_key_heads");
  document["linear_num_value_heads"] = int64_t{1} << 30;
  EXPECT_ERROR(ParseModelConfig(document.dump()), kPrecondition, "MODEL_CORRUPT",
               "linear_num_value_heads");
}

TEST(ModelConfig, WhatTheEngineLacksIsNamed) {
  const struct {
    const char* field;
    json value;
    const char* text;
  } kTable[] = {
      {"model_type", "gpt2", "gpt2: its norms subtract the mean (LayerNorm)"},
      {"model_type", "qwen3_moe",
       "it is a mixture of experts, which ftd lacks; the nearest type that ftd trains is qwen3"},
      {"model_type", "gemma3_txt", "the nearest type that it trains is gemma3_text"},
      {"model_type", "something-else", "trains models of the types llama, qwen2"},
      {"model_type", nullptr, ""},
      {"hidden_act", "gelu", "gelu"},
      {"rope_scaling", {{"rope_type", "proportional"}, {"factor", 2}}, "proportional"},
      {"rope_scaling", {{"type", "mrope"}}, "mrope"},
      {"partial_rotary_factor", 0.5, "partial_rotary_factor"},
      {"quantization_config", {{"quant_method", "bitsandbytes"}}, "bitsandbytes 8-bit"},
      {"quantization_config",
       {{"quant_method", "bitsandbytes"}, {"load_in_4bit", true}},
       "bitsandbytes fp4"},
      {"quantization_config", {{"quant_method", "gptq"}, {"bits", 4}}, "gptq"},
      {"quantization_config",
       {{"quant_method", "bitsandbytes"},
        {"load_in_4bit", true},
        {"bnb_4bit_quant_type", "nf4"},
        {"rotation", 3}},
       "rotation"},
  };
  for (const auto& row : kTable) {
    SCOPED_TRACE(row.field);
    json document = Version4();
    document[row.field] = row.value;
    const auto config = ParseModelConfig(document.dump());
    ASSERT_FALSE(config.ok());
    EXPECT_EQ(config.status().code(), kPrecondition);
    EXPECT_THAT(std::string(config.status().message()), testing::HasSubstr(row.text));
    EXPECT_EQ(ReasonNameOf(config.status()),
              row.value.is_null() ? "MODEL_CORRUPT" : "MODEL_UNSUPPORTED");
  }
}

TEST(ModelConfig, Nf4IsKnown) {
  json document = Version4();
  EXPECT_FALSE(ParseModelConfig(document.dump())->nf4);
  document["quantization_config"] = {
      {"quant_method", "bitsandbytes"}, {"load_in_4bit", true}, {"bnb_4bit_quant_type", "nf4"}};
  const auto config = ParseModelConfig(document.dump());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(config->nf4);
}

TEST(ModelConfig, AbsurdFieldsAreNamed) {
  const struct {
    const char* field;
    json value;
  } kTable[] = {
      {"vocab_size", 0},
      {"vocab_size", -1},
      {"vocab_size", "many"},
      {"vocab_size", 1e30},
      {"hidden_size", 18446744073709551615u},
      {"num_hidden_layers", json::array()},
      {"num_attention_heads", 0},
      {"num_key_value_heads", 5},
      {"head_dim", 63},
      {"rms_norm_eps", -1},
      {"rms_norm_eps", "x"},
      {"rope_theta", 0},
      {"rope_scaling", {{"rope_type", "llama3"}}},
      {"rope_scaling",
       {{"rope_type", "llama3"}, {"factor", 0}, {"low_freq_factor", 1}, {"high_freq_factor", 4}}},
      {"rope_scaling",
       {{"rope_type", "llama3"}, {"factor", 8}, {"low_freq_factor", 4}, {"high_freq_factor", 4}}},
      {"tie_word_embeddings", "yes"},
      {"mlp_bias", 1},
      {"num_hidden_layers", 70000},
      {"rope_scaling", {{"rope_type", "linear"}}},
      {"rope_scaling", {{"rope_type", "yarn"}, {"factor", 0}}},
      {"rope_scaling", {{"rope_type", "longrope"}, {"short_factor", {1, 2}}, {"long_factor", {1}}}},
      {"rope_scaling",
       {{"rope_type", "longrope"},
        {"short_factor", std::vector<double>(32, 1.0)},
        {"long_factor", std::vector<double>(32, 0.0)}}},
  };
  for (const auto& row : kTable) {
    SCOPED_TRACE(Concat(row.field, " ", row.value.dump()));
    json document = Version4();
    document[row.field] = row.value;
    EXPECT_ERROR(ParseModelConfig(document.dump()), kPrecondition, "MODEL_CORRUPT", "config.json");
  }
  for (const char* field : {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
                            "num_attention_heads"}) {
    json document = Version4();
    document.erase(field);
    EXPECT_ERROR(ParseModelConfig(document.dump()), kPrecondition, "MODEL_CORRUPT", field);
  }
}

TEST(ModelConfig, NotJsonOrMissing) {
  for (const char* text : {"", "[]", R"({"vocab_size": 1)", "null", "\xff"}) {
    EXPECT_ERROR(ParseModelConfig(text), kPrecondition, "MODEL_CORRUPT", "config.json");
  }
  const TempDir dir;
  EXPECT_ERROR(ReadModelConfig(dir.path()), absl::StatusCode::kNotFound, "MODEL_NOT_FOUND",
               "config.json");
  EXPECT_ERROR(ReadModelConfig(dir / "nowhere"), absl::StatusCode::kNotFound, "MODEL_NOT_FOUND",
               "nowhere");
}

}  // namespace
}  // namespace ftd
