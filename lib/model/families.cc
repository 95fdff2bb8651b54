#include "lib/model/families.h"

#include "absl/strings/str_join.h"

namespace ftd {
namespace {

using enum Extent;
using enum ParameterRole;
using enum Presence;

// transformers modeling_llama.py: pre-norm layers, grouped-query attention, SwiGLU. The families
// below add to it.
constexpr ParameterRow kEmbeddingRow = {kEmbedding, kHidden, {{{"model.embed_tokens", kVocab}}}};
constexpr ParameterRow kInputNormRow = {kInputNorm, kNone, {{{"input_layernorm", kHidden}}}};
constexpr ParameterRow kQkvRow = {kQkv,
                                  kHidden,
                                  {{{"self_attn.q_proj", kQueries},
                                    {"self_attn.k_proj", kKeysOrValues},
                                    {"self_attn.v_proj", kKeysOrValues}}}};
constexpr ParameterRow QkvBiasRow(Presence presence) {
  return {kQkvBias, kNone, kQkvRow.tensors, ".bias", presence};
}
constexpr ParameterRow kAttentionOutRow = {
    kAttentionOut, kQueries, {{{"self_attn.o_proj", kHidden}}}};
constexpr ParameterRow kAttentionOutBiasRow = {kAttentionOutBias, kNone, kAttentionOutRow.tensors,
                                               ".bias", kAttentionBias};
constexpr ParameterRow kPostAttentionNormRow = {
    kPostAttentionNorm, kNone, {{{"post_attention_layernorm", kHidden}}}};
constexpr ParameterRow kGateUpRow = {
    kGateUp, kHidden, {{{"mlp.gate_proj", kIntermediate}, {"mlp.up_proj", kIntermediate}}}};
constexpr ParameterRow kDownRow = {kDown, kIntermediate, {{{"mlp.down_proj", kHidden}}}};
constexpr ParameterRow kFinalNormRow = {kFinalNorm, kNone, {{{"model.norm", kHidden}}}};
constexpr ParameterRow kHeadRow = {kHead, kHidden, {{{"lm_head", kVocab}}}};

constexpr ParameterRow kLlamaParameters[] = {
    kEmbeddingRow,
    kInputNormRow,
    kQkvRow,
    QkvBiasRow(kAttentionBias),
    kAttentionOutRow,
    kAttentionOutBiasRow,
    kPostAttentionNormRow,
    kGateUpRow,
    kDownRow,
    kFinalNormRow,
    kHeadRow,
};

// modeling_qwen2.py: queries, keys and values always have a bias.
constexpr ParameterRow kQwen2Parameters[] = {
    kEmbeddingRow,         kInputNormRow, kQkvRow,  QkvBiasRow(kAlways), kAttentionOutRow,
    kPostAttentionNormRow, kGateUpRow,    kDownRow, kFinalNormRow,       kHeadRow,
};

// modeling_qwen3.py: each head of queries and keys is normed before its rotation.
constexpr ParameterRow kQwen3Parameters[] = {
    kEmbeddingRow,
    kInputNormRow,
    kQkvRow,
    QkvBiasRow(kAttentionBias),
    {kQueryNorm, kNone, {{{"self_attn.q_norm", kHeadDim}}}},
    {kKeyNorm, kNone, {{{"self_attn.k_norm", kHeadDim}}}},
    kAttentionOutRow,
    kAttentionOutBiasRow,
    kPostAttentionNormRow,
    kGateUpRow,
    kDownRow,
    kFinalNormRow,
    kHeadRow,
};

// With another value of these, transformers computes a model that the engine cannot.
constexpr FixedTrait kCommonTraits[] = {
    {"hidden_act", "\"silu\"", "supported is silu"},
    {"attention_dropout", "0.0",
     "dropout on attention probabilities is not supported: set it to 0"},
    {"partial_rotary_factor", "1.0", "a rotary embedding of part of a head is not supported"},
    {"is_causal", "true", "attention to later tokens is not supported"},
    {"transformers_weights", "null",
     "weights under another name are not supported: rename them to model.safetensors, and remove "
     "this field"},
};
constexpr FixedTrait kLlamaTraits[] = {
    {"mlp_bias", "false", "a feed-forward block with a bias is not supported"},
};
constexpr FixedTrait kQwenTraits[] = {
    {"use_sliding_window", "false", "attention within a window is not supported"},
};

constexpr Family kFamilies[] = {
    {.model_type = "llama",
     .layer_prefix = "model.layers.",
     .parameters = kLlamaParameters,
     .fixed_traits = kLlamaTraits,
     .reads_attention_bias = true},
    {.model_type = "qwen2",
     .layer_prefix = "model.layers.",
     .parameters = kQwen2Parameters,
     .fixed_traits = kQwenTraits,
     .reads_layer_types = true,
     .max_position_embeddings = 32768,
     .num_key_value_heads = 32},
    {.model_type = "qwen3",
     .layer_prefix = "model.layers.",
     .parameters = kQwen3Parameters,
     .fixed_traits = kQwenTraits,
     .reads_attention_bias = true,
     .reads_layer_types = true,
     .max_position_embeddings = 32768,
     .num_key_value_heads = 32,
     .head_dim = 128},
};

}  // namespace

absl::Span<const Family> Families() { return kFamilies; }

absl::Span<const FixedTrait> CommonTraits() { return kCommonTraits; }

// `architectures` of config.json is not looked at.
const Family* FindFamily(std::string_view model_type) {
  for (const Family& family : kFamilies) {
    if (family.model_type == model_type) return &family;
  }
  return nullptr;
}

std::string FamilyNames() {
  return absl::StrJoin(kFamilies, ", ", [](std::string* out, const Family& family) {
    out->append(family.model_type);
  });
}

}  // namespace ftd
