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
constexpr ParameterRow kInputNormRow = {
    kAttentionInputNorm, kNone, {{{"input_layernorm", kHidden}}}};
constexpr ParameterRow kQkvRow = {kQkv,
                                  kHidden,
                                  {{{"self_attn.q_proj", kQueries},
                                    {"self_attn.k_proj", kKeysOrValues},
                                    {"self_attn.v_proj", kKeysOrValues}}}};
constexpr ParameterRow QkvBiasRow(Presence presence) {
  return {kQkvBias, kNone, kQkvRow.tensors, ".bias", presence};
}
// Norms of queries and keys: of each head, or of the whole projection.
constexpr ParameterRow QueryNormRow(Extent extent) {
  return {kQueryNorm, kNone, {{{"self_attn.q_norm", extent}}}};
}
constexpr ParameterRow KeyNormRow(Extent extent) {
  return {kKeyNorm, kNone, {{{"self_attn.k_norm", extent}}}};
}
constexpr ParameterRow kAttentionOutRow = {
    kAttentionOut, kQueries, {{{"self_attn.o_proj", kHidden}}}};
constexpr ParameterRow kAttentionOutBiasRow = {kAttentionOutBias, kNone, kAttentionOutRow.tensors,
                                               ".bias", kAttentionBias};
// Llama's name for the norm before the feed-forward block; other families have it after attention.
constexpr ParameterRow PostAttentionNormRow(ParameterRole role) {
  return {role, kNone, {{{"post_attention_layernorm", kHidden}}}};
}
constexpr ParameterRow kMlpInputNormRow = PostAttentionNormRow(kMlpInputNorm);
constexpr ParameterRow kGateUpRow = {
    kGateUp, kHidden, {{{"mlp.gate_proj", kIntermediate}, {"mlp.up_proj", kIntermediate}}}};
constexpr ParameterRow kGateUpBiasRow = {kGateUpBias, kNone, kGateUpRow.tensors, ".bias", kMlpBias};
constexpr ParameterRow kFusedGateUpRow = {kGateUp, kHidden, {{{"mlp.gate_up_proj", kGateAndUp}}}};
constexpr ParameterRow kDownRow = {kDown, kIntermediate, {{{"mlp.down_proj", kHidden}}}};
constexpr ParameterRow kDownBiasRow = {kDownBias, kNone, kDownRow.tensors, ".bias", kMlpBias};
constexpr ParameterRow kFinalNormRow = {kFinalNorm, kNone, {{{"model.norm", kHidden}}}};
constexpr ParameterRow kHeadRow = {kHead, kHidden, {{{"lm_head", kVocab}}}};

constexpr ParameterRow kLlamaParameters[] = {
    kEmbeddingRow,    kInputNormRow,
    kQkvRow,          QkvBiasRow(kAttentionBias),
    kAttentionOutRow, kAttentionOutBiasRow,
    kMlpInputNormRow, kGateUpRow,
    kGateUpBiasRow,   kDownRow,
    kDownBiasRow,     kFinalNormRow,
    kHeadRow,
};

// modeling_qwen2.py: queries, keys and values always have a bias.
constexpr ParameterRow kQwen2Parameters[] = {
    kEmbeddingRow,    kInputNormRow, kQkvRow,  QkvBiasRow(kAlways), kAttentionOutRow,
    kMlpInputNormRow, kGateUpRow,    kDownRow, kFinalNormRow,       kHeadRow,
};

// modeling_qwen3.py: each head of queries and keys is normed before its rotation.
constexpr ParameterRow kQwen3Parameters[] = {
    kEmbeddingRow,
    kInputNormRow,
    kQkvRow,
    QkvBiasRow(kAttentionBias),
    QueryNormRow(kHeadDim),
    KeyNormRow(kHeadDim),
    kAttentionOutRow,
    kAttentionOutBiasRow,
    kMlpInputNormRow,
    kGateUpRow,
    kDownRow,
    kFinalNormRow,
    kHeadRow,
};

// modeling_mistral.py, modeling_ministral3.py: Llama's tensors without any bias.
constexpr ParameterRow kMistralParameters[] = {
    kEmbeddingRow, kInputNormRow, kQkvRow,       kAttentionOutRow, kMlpInputNormRow,
    kGateUpRow,    kDownRow,      kFinalNormRow, kHeadRow,
};

// modeling_gemma2.py: norms before and after both blocks.
constexpr ParameterRow kPreMlpNormRow = {
    kMlpInputNorm, kNone, {{{"pre_feedforward_layernorm", kHidden}}}};
constexpr ParameterRow kPostMlpNormRow = {
    kMlpOutputNorm, kNone, {{{"post_feedforward_layernorm", kHidden}}}};
constexpr ParameterRow kGemma2Parameters[] = {
    kEmbeddingRow,
    kInputNormRow,
    kQkvRow,
    QkvBiasRow(kAttentionBias),
    kAttentionOutRow,
    kAttentionOutBiasRow,
    PostAttentionNormRow(kAttentionOutputNorm),
    kPreMlpNormRow,
    kGateUpRow,
    kDownRow,
    kPostMlpNormRow,
    kFinalNormRow,
    kHeadRow,
};

// modeling_gemma3.py: norms of heads, as Qwen3.
constexpr ParameterRow kGemma3Parameters[] = {
    kEmbeddingRow,
    kInputNormRow,
    kQkvRow,
    QkvBiasRow(kAttentionBias),
    QueryNormRow(kHeadDim),
    KeyNormRow(kHeadDim),
    kAttentionOutRow,
    kAttentionOutBiasRow,
    PostAttentionNormRow(kAttentionOutputNorm),
    kPreMlpNormRow,
    kGateUpRow,
    kDownRow,
    kPostMlpNormRow,
    kFinalNormRow,
    kHeadRow,
};

// modeling_phi3.py: queries, keys and values are one tensor, and gate and up another.
constexpr ParameterRow kPhi3Parameters[] = {
    kEmbeddingRow,
    kInputNormRow,
    {kQkv, kHidden, {{{"self_attn.qkv_proj", kQueriesKeysValues}}}},
    kAttentionOutRow,
    kMlpInputNormRow,
    kFusedGateUpRow,
    kDownRow,
    kFinalNormRow,
    kHeadRow,
};

// modeling_olmo2.py, modeling_olmo3.py: norms after the blocks alone, and of whole projections.
constexpr ParameterRow kOlmo2Parameters[] = {
    kEmbeddingRow,
    kQkvRow,
    QkvBiasRow(kAttentionBias),
    QueryNormRow(kQueries),
    KeyNormRow(kKeysOrValues),
    kAttentionOutRow,
    kAttentionOutBiasRow,
    PostAttentionNormRow(kAttentionOutputNorm),
    kGateUpRow,
    kDownRow,
    kPostMlpNormRow,
    kFinalNormRow,
    kHeadRow,
};

// modeling_glm4.py: norms around both blocks by other names; attention's output has no bias.
constexpr ParameterRow kGlm4Parameters[] = {
    kEmbeddingRow,    kInputNormRow,
    kQkvRow,          QkvBiasRow(kAttentionBias),
    kAttentionOutRow, {kAttentionOutputNorm, kNone, {{{"post_self_attn_layernorm", kHidden}}}},
    kMlpInputNormRow, kFusedGateUpRow,
    kDownRow,         {kMlpOutputNorm, kNone, {{{"post_mlp_layernorm", kHidden}}}},
    kFinalNormRow,    kHeadRow,
};

// modeling_qwen3_5.py: some layers with gated attention, the others with the gated delta rule,
// which reads queries, keys and values, a gate, β and the step width of one input.
constexpr ParameterRow kQwen35Parameters[] = {
    kEmbeddingRow,
    kInputNormRow,
    {kQkv,
     kHidden,
     {{{"self_attn.q_proj", kQueriesAndGates},
       {"self_attn.k_proj", kKeysOrValues},
       {"self_attn.v_proj", kKeysOrValues}}},
     ".weight",
     kAttention},
    {kQkvBias,
     kNone,
     {{{"self_attn.q_proj", kQueriesAndGates},
       {"self_attn.k_proj", kKeysOrValues},
       {"self_attn.v_proj", kKeysOrValues}}},
     ".bias",
     kAttentionBias},
    {kQueryNorm, kNone, {{{"self_attn.q_norm", kHeadDim}}}, ".weight", kAttention},
    {kKeyNorm, kNone, {{{"self_attn.k_norm", kHeadDim}}}, ".weight", kAttention},
    {kAttentionOut, kQueries, kAttentionOutRow.tensors, ".weight", kAttention},
    kAttentionOutBiasRow,
    {kQkv,
     kHidden,
     {{{"linear_attn.in_proj_qkv", kDeltaChannels},
       {"linear_attn.in_proj_z", kDeltaValues},
       {"linear_attn.in_proj_b", kDeltaHeads},
       {"linear_attn.in_proj_a", kDeltaHeads}}},
     ".weight",
     kDelta},
    {kDeltaConv, kDeltaTaps, {{{"linear_attn.conv1d", kDeltaChannels}}}, ".weight", kDelta},
    {kDeltaDecay, kNone, {{{"linear_attn.A_log", kDeltaHeads}}}, "", kDelta},
    {kDeltaStepBias, kNone, {{{"linear_attn.dt_bias", kDeltaHeads}}}, "", kDelta},
    {kDeltaNorm, kNone, {{{"linear_attn.norm", kDeltaValueDim}}}, ".weight", kDelta},
    {kAttentionOut, kDeltaValues, {{{"linear_attn.out_proj", kHidden}}}, ".weight", kDelta},
    kMlpInputNormRow,
    kGateUpRow,
    kDownRow,
    kFinalNormRow,
    kHeadRow,
};

// With another value of these, transformers computes a model that the engine cannot.
constexpr FixedTrait kCommonTraits[] = {
    {"attention_dropout", "0.0",
     "dropout on attention probabilities is not supported: set it to 0"},
    {"is_causal", "true", "attention to later tokens is not supported"},
    {"transformers_weights", "null",
     "weights under another name are not supported: rename them to model.safetensors, and remove "
     "this field"},
};

constexpr FixedTrait kGemmaTraits[] = {
    {"use_bidirectional_attention", "false", "attention to later tokens is not supported"},
};
constexpr FixedTrait kPhi3Traits[] = {
    {"resid_pdrop", "0.0", "dropout on what a block adds is not supported: set it to 0"},
    {"embd_pdrop", "0.0", "dropout on embeddings is not supported: set it to 0"},
};

constexpr LayerDefaults kQwenLayers = {.rule = WindowRule::kQwen, .window = 4096};

constexpr Family kFamilies[] = {
    {.model_type = "llama",
     .parameters = kLlamaParameters,
     .reads_attention_bias = true,
     .reads_mlp_bias = true},
    {.model_type = "qwen2",
     .parameters = kQwen2Parameters,
     .layers = kQwenLayers,
     .max_position_embeddings = 32768,
     .num_key_value_heads = 32},
    {.model_type = "qwen3",
     .parameters = kQwen3Parameters,
     .layers = kQwenLayers,
     .reads_attention_bias = true,
     .max_position_embeddings = 32768,
     .num_key_value_heads = 32,
     .head_dim = 128},
    {.model_type = "mistral",
     .parameters = kMistralParameters,
     .layers = {.rule = WindowRule::kAll, .window = 4096},
     .max_position_embeddings = 131072,
     .num_key_value_heads = 8},
    {.model_type = "ministral3",
     .parameters = kMistralParameters,
     .layers = {.rule = WindowRule::kAll},
     .scales_queries = true,
     .rms_norm_eps = 1e-5,
     .max_position_embeddings = 262144,
     .num_key_value_heads = 8,
     .head_dim = 128,
     .pad_token_id = 11},
    {.model_type = "gemma2",
     .parameters = kGemma2Parameters,
     .fixed_traits = kGemmaTraits,
     .activation_field = "hidden_activation",
     .norm = NormKind::kOffset,
     .activation = Activation::kGelu,
     .layers = {.rule = WindowRule::kLayerTypes, .window = 4096, .period = 2},
     .scaling = Scaling::kGemma,
     .attention_softcap = 50,
     .logits_softcap = 30,
     .reads_attention_bias = true,
     .tie_word_embeddings = true,
     .max_position_embeddings = 8192,
     .num_key_value_heads = 4,
     .head_dim = 256,
     .pad_token_id = 0},
    {.model_type = "gemma3_text",
     .whole_model_type = "gemma3",
     .parameters = kGemma3Parameters,
     .fixed_traits = kGemmaTraits,
     .activation_field = "hidden_activation",
     .norm = NormKind::kOffset,
     .activation = Activation::kGelu,
     .layers = {.rule = WindowRule::kLayerTypes,
                .window = 4096,
                .period = 6,
                .period_field = "sliding_window_pattern",
                .local_rope = true},
     .rope = {.theta = 1e6, .by_layer_type = true, .local_theta_field = "rope_local_base_freq"},
     .scaling = Scaling::kGemma,
     .reads_attention_bias = true,
     .tie_word_embeddings = true,
     // Released files of models with images leave them out.
     .vocab_size = 262208,
     .hidden_size = 2304,
     .intermediate_size = 9216,
     .num_hidden_layers = 26,
     .num_attention_heads = 8,
     .max_position_embeddings = 131072,
     .num_key_value_heads = 4,
     .head_dim = 256,
     .pad_token_id = 0},
    {.model_type = "phi3",
     .parameters = kPhi3Parameters,
     .fixed_traits = kPhi3Traits,
     .layers = {.rule = WindowRule::kAll},
     .rope = {.partial = true, .phi3 = true},
     .rms_norm_eps = 1e-5,
     .max_position_embeddings = 4096,
     .pad_token_id = 32000},
    {.model_type = "smollm3",
     .parameters = kLlamaParameters,
     .layers = {.rule = WindowRule::kWithoutRope, .unrotated_every = 4},
     .rope = {.theta = 2e6},
     .reads_attention_bias = true,
     .reads_mlp_bias = true,
     .tie_word_embeddings = true,
     .max_position_embeddings = 32768,
     .num_key_value_heads = 4,
     .pad_token_id = 128004},
    {.model_type = "granite",
     .parameters = kLlamaParameters,
     .scaling = Scaling::kGranite,
     .reads_attention_bias = true,
     .reads_mlp_bias = true},
    {.model_type = "olmo2",
     .parameters = kOlmo2Parameters,
     .norm = NormKind::kFloat32,
     .rope_in_float32 = true,
     .reads_attention_bias = true,
     .rms_norm_eps = 1e-5,
     .pad_token_id = 1},
    {.model_type = "olmo3",
     .parameters = kOlmo2Parameters,
     .norm = NormKind::kFloat32,
     .layers = {.rule = WindowRule::kLayerTypes, .window = 4096, .period = 4, .local_rope = true},
     .rope = {.theta = 500000, .by_layer_type = true, .local_theta = 500000},
     .rope_in_float32 = true,
     .reads_attention_bias = true,
     .rms_norm_eps = 1e-5,
     .pad_token_id = 1},
    {.model_type = "glm4",
     .parameters = kGlm4Parameters,
     .rope = {.partial_rotary_factor = 0.5, .partial = true},
     .rope_interleaved = true,
     .reads_attention_bias = true,
     .attention_bias = true,
     .rms_norm_eps = 1.5625e-7,
     .max_position_embeddings = 131072,
     .num_key_value_heads = 2,
     .head_dim = 128,
     .pad_token_id = 151329},
    {.model_type = "qwen3_5_text",
     .whole_model_type = "qwen3_5",
     .part = {.own_prefix = "model.", .prefix = "model.language_model."},
     .parameters = kQwen35Parameters,
     .norm = NormKind::kOffset,
     .layers = {.rule = WindowRule::kDelta, .period = 4, .period_field = "full_attention_interval"},
     .rope = {.partial_rotary_factor = 0.25, .partial = true},
     .attention_gate = true,
     .delta = {.key_heads = 16, .value_heads = 32, .key_dim = 128, .value_dim = 128, .taps = 4},
     .reads_attention_bias = true,
     .vocab_size = 248320,
     .hidden_size = 4096,
     .intermediate_size = 12288,
     .num_hidden_layers = 32,
     .num_attention_heads = 16,
     .max_position_embeddings = 32768,
     .num_key_value_heads = 4,
     .head_dim = 256},
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

const Family* FindFamilyOfPart(std::string_view whole_model_type) {
  for (const Family& family : kFamilies) {
    if (!family.whole_model_type.empty() && family.whole_model_type == whole_model_type)
      return &family;
  }
  return nullptr;
}

std::string FamilyNames() {
  return absl::StrJoin(kFamilies, ", ", [](std::string* out, const Family& family) {
    out->append(family.model_type);
    if (!family.whole_model_type.empty())
      out->append(" (also as the text part of ").append(family.whole_model_type).append(")");
  });
}

}  // namespace ftd
