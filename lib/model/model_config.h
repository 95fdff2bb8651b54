// config.json of a model whose family ftd trains, in the spelling of transformers 4 and 5.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace ftd {

// Rotary embedding. `kLlama3` is the frequency scaling of Llama 3.1 (transformers
// modeling_rope_utils.py).
struct RopeConfig {
  enum class Type { kDefault, kLlama3 };
  Type type = Type::kDefault;
  double theta = 10000.0;
  double factor = 1.0;
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  double original_max_position_embeddings = 8192;
};

struct Family;  // families.h

struct ModelConfig {
  const Family* family = nullptr;  // the row of families.cc with its model_type
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_hidden_layers = 0;
  int64_t num_attention_heads = 0;
  int64_t num_key_value_heads = 0;
  int64_t head_dim = 0;
  int64_t max_position_embeddings = 0;
  double rms_norm_eps = 1e-6;
  bool tie_word_embeddings = false;
  bool attention_bias = false;  // of the projections of attention, where the family has the choice
  RopeConfig rope;
  int64_t eos_token_id = -1;  // the first, when config.json lists several; -1: none
  int64_t pad_token_id = -1;  // whose embedding gets no gradient; -1: none
  bool nf4 = false;           // bitsandbytes has quantised the projections to NF4
};

// Parses config.json. FAILED_PRECONDITION MODEL_UNSUPPORTED when the family, a fixed trait of it,
// the RoPE type or the quantisation is not one that the engine has; MODEL_CORRUPT when it is not
// JSON, or a field is missing or absurd. Both name the field.
absl::StatusOr<ModelConfig> ParseModelConfig(std::string_view json);

// Reads `model_dir`/config.json. NOT_FOUND MODEL_NOT_FOUND when directory or file is missing.
absl::StatusOr<ModelConfig> ReadModelConfig(const std::filesystem::path& model_dir);

}  // namespace ftd
