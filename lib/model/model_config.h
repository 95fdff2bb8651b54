// config.json of a model whose family ftd trains, in the spelling of transformers 4 and 5.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/model/layer_kinds.h"
#include "lib/model/rope_config.h"
#include "lib/model/traits.h"

namespace ftd {

struct Family;  // families.h

struct ModelConfig {
  const Family* family = nullptr;  // the row of families.cc with its model_type
  // Where the model is the text part of one that sees images too: what stands in the names of its
  // tensors, in the files of the whole, in place of a prefix of their own names.
  std::string tensor_prefix;      // "language_model."
  std::string own_tensor_prefix;  // ""
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_hidden_layers = 0;
  int64_t num_attention_heads = 0;
  int64_t num_key_value_heads = 0;
  int64_t head_dim = 0;
  int64_t max_position_embeddings = 0;
  double rms_norm_eps = 1e-6;
  NormKind norm = NormKind::kRounded;
  Activation activation = Activation::kSilu;
  bool tie_word_embeddings = false;
  bool attention_bias = false;  // of the projections of attention, where the family has the choice
  bool mlp_bias = false;        // likewise of the feed-forward block
  bool attention_gate = false;  // attention's output is times σ of a gate beside each query
  DeltaShape delta;             // of the layers with the gated delta rule

  // Rotary embedding, of layers with full attention and of those with a window.
  RopeConfig rope, local_rope;
  bool rope_interleaved = false;  // features 2i and 2i + 1 of a head are a pair, else i and i + H/2
  bool rope_in_float32 = false;   // the rotation is rounded to the dtype once, at its end
  std::vector<LayerKind> layer_kinds = {LayerKind{}};  // of the layers in turn; they may repeat

  double attention_scale = 1;    // of q kᵀ
  double attention_softcap = 0;  // c of c · tanh(scores / c); 0: none
  double logits_softcap = 0;     // likewise of the logits
  // β of a query's factor 1 + β · ln(1 + ⌊position / original_max_position_embeddings⌋).
  double query_scale_beta = 0;
  double embedding_multiplier = 1;
  bool embedding_multiplier_rounded = false;  // to the dtype
  double residual_multiplier = 1;             // of what a block adds to the hidden state
  double logits_divisor = 1;

  int64_t eos_token_id = -1;  // the first, when config.json lists several; -1: none
  int64_t pad_token_id = -1;  // whose embedding gets no gradient; -1: none
  bool nf4 = false;           // bitsandbytes has quantised the projections to NF4

  bool is_part() const { return !tensor_prefix.empty(); }
  bool UsesLocalRope() const;  // layers rotate by local_rope
  const LayerKind& KindOf(int64_t layer) const { return layer_kinds[layer % layer_kinds.size()]; }
};

// Parses config.json. FAILED_PRECONDITION MODEL_UNSUPPORTED when the family, a fixed trait of it,
// the RoPE type or the quantisation is not one that the engine has; MODEL_CORRUPT when it is not
// JSON, or a field is missing or absurd. Both name the field.
absl::StatusOr<ModelConfig> ParseModelConfig(std::string_view json);

// Reads `model_dir`/config.json. NOT_FOUND MODEL_NOT_FOUND when directory or file is missing.
absl::StatusOr<ModelConfig> ReadModelConfig(const std::filesystem::path& model_dir);

}  // namespace ftd
