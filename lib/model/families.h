// The model families that ftd trains: a row per `model_type` of config.json.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/types/span.h"
#include "lib/model/architecture.h"

namespace ftd {

// A size of config.json, or a product or sum of some.
enum class Extent {
  kNone,
  kVocab,
  kHidden,
  kQueries,
  kKeysOrValues,
  kQueriesKeysValues,
  kHeadDim,
  kIntermediate,
  kGateAndUp,
  kQueriesAndGates,
  kDeltaChannels,
  kDeltaValues,
  kDeltaHeads,  // of values
  kDeltaValueDim,
  kDeltaTaps,  // of a convolution's channel, whose tensor has an axis of size 1 before them
};

// Which models of a family, and which of their layers, have a parameter: all, those with attention
// or with the gated delta rule, or those whose config.json says so.
enum class Presence { kAlways, kAttention, kDelta, kAttentionBias, kMlpBias };

// A tensor's module path, without the layer's prefix and the suffix, and its rows.
struct TensorRow {
  std::string_view path;
  Extent rows = Extent::kNone;
};

// A parameter and the tensors that it is stacked of; unused places have no path. A vector has no
// columns.
struct ParameterRow {
  ParameterRole role;
  Extent columns;
  std::array<TensorRow, 4> tensors;
  std::string_view suffix = ".weight";
  Presence presence = Presence::kAlways;
};

// A field of config.json that changes the maths, and the one value of it that the engine supports,
// which is also the field's default.
struct FixedTrait {
  const char* field;
  std::string_view value;  // JSON
  const char* remedy;
};

// How a family scales what it computes, and where config.json says so.
enum class Scaling {
  kNone,
  kGemma,  // embeddings by √D, rounded to the dtype; query_pre_attn_scalar; final_logit_softcapping
  kGranite  // embedding_multiplier, residual_multiplier, attention_multiplier, logits_scaling
};

// The names of a text part's tensors in the files of the whole: `prefix` stands in place of
// `own_prefix`.
struct PartNames {
  std::string_view own_prefix;
  std::string_view prefix = "language_model.";
};

struct Family {
  std::string_view model_type;
  // The model_type of models with images whose `text_config` and text tensors this family
  // describes; empty: none.
  std::string_view whole_model_type;
  PartNames part;
  std::string_view layer_prefix = "model.layers.";  // of the layer's number
  absl::Span<const ParameterRow> parameters;
  absl::Span<const FixedTrait> fixed_traits;

  // Traits of the whole family.
  const char* activation_field = "hidden_act";
  NormKind norm = NormKind::kRounded;
  Activation activation = Activation::kSilu;  // where the field is absent
  LayerDefaults layers;
  RopeDefaults rope;
  bool rope_interleaved = false;
  bool rope_in_float32 = false;
  bool scales_queries = false;  // rope_parameters.llama_4_scaling_beta
  bool attention_gate = false;  // beside each query
  Scaling scaling = Scaling::kNone;
  DeltaShape delta;              // defaults, of a family that has the gated delta rule
  double attention_softcap = 0;  // where attn_logit_softcapping is absent; 0: the field is not read
  double logits_softcap = 0;     // likewise final_logit_softcapping, which kGemma always reads

  // Fields that transformers reads for this family and not for others.
  bool reads_attention_bias = false;
  bool reads_mlp_bias = false;

  // Defaults of its config class. A size of 0: config.json must have it.
  bool attention_bias = false;
  bool tie_word_embeddings = false;
  int64_t vocab_size = 0, hidden_size = 0, intermediate_size = 0, num_hidden_layers = 0,
          num_attention_heads = 0;
  double rms_norm_eps = 1e-6;
  int64_t max_position_embeddings = 2048;
  int64_t num_key_value_heads = 0;  // 0: as many as query heads
  int64_t head_dim = 0;             // 0: the hidden size's even share
  int64_t pad_token_id = -1;        // -1: none
};

absl::Span<const Family> Families();

// What the engine supports of no family.
absl::Span<const FixedTrait> CommonTraits();

// Returns nullptr when there is no such row.
const Family* FindFamily(std::string_view model_type);

// Returns the row of the text part of models of that type, or nullptr.
const Family* FindFamilyOfPart(std::string_view whole_model_type);

// Returns the model types, joined for a message.
std::string FamilyNames();

}  // namespace ftd
