// The rotary embedding that config.json describes, in the spelling of transformers 4 and 5.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "nlohmann/json.hpp"

namespace ftd {

// How positions become angles, and how they are stretched beyond the context that the model was
// trained on first (transformers modeling_rope_utils.py).
struct RopeConfig {
  enum class Type {
    kDefault,
    kLinear,    // all frequencies divided
    kDynamic,   // NTK scaling of theta, by the length of the longest document
    kLlama3,    // Llama 3.1
    kYarn,      // Peng et al. 2023
    kLongrope,  // Ding et al. 2024: a factor a frequency, of two sets by the longest document
  };
  Type type = Type::kDefault;
  double theta = 10000.0;
  int64_t rotary_dim = 0;  // the features of a head that rotate: its first
  double factor = 1.0;
  double original_max_position_embeddings = 8192;
  double max_position_embeddings = 8192;  // dynamic
  double low_freq_factor = 1.0;           // llama3
  double high_freq_factor = 4.0;          // llama3
  double beta_fast = 32;                  // yarn
  double beta_slow = 1;                   // yarn
  bool truncate = true;                   // yarn
  double attention_factor = 1.0;          // yarn, longrope: of cos and sin
  std::vector<double> short_factor;       // longrope: [rotary_dim / 2]
  std::vector<double> long_factor;        // longrope: beyond the original context
};

// What a family's config class has of its own.
struct RopeDefaults {
  double theta = 10000.0;
  double partial_rotary_factor = 1.0;
  bool partial = false;  // part of a head may rotate
  // By layer type: `rope_parameters` holds an object for each, and `local_theta_field`, or
  // local_theta, is the sliding layers' theta.
  bool by_layer_type = false;
  const char* local_theta_field = nullptr;
  double local_theta = 10000.0;
  // Phi-3: original_max_position_embeddings lies beside the object, and "su" and "yarn" are
  // longrope.
  bool phi3 = false;
};

// Reads the rotary embedding, of full-attention layers into `rope` and of sliding ones into
// `local`: the same unless the family has one by layer type. The sizes of heads and positions are
// those of the model. Errors: config_json.h's.
absl::Status ReadRope(const nlohmann::json& json, const RopeDefaults& defaults, int64_t head_dim,
                      int64_t max_position_embeddings, RopeConfig* rope, RopeConfig* local);

}  // namespace ftd
