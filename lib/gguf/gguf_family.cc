#include "lib/gguf/gguf_family.h"

#include <cmath>

#include "lib/base/concat.h"
#include "lib/base/error.h"
#include "lib/model/families.h"

namespace ftd::gguf {
namespace {

using enum ParameterRole;
using Config = ModelConfig;

constexpr NameRow kNames[] = {
    {kEmbedding, "", "token_embd"},
    {kAttentionInputNorm, "", "attn_norm", Order::kAsIs, Mapping::kNormWeight},
    {kQkv, "q_proj", "attn_q", Order::kQueryPairs},
    {kQkv, "k_proj", "attn_k", Order::kKeyPairs},
    {kQkv, "v_proj", "attn_v"},
    {kQkv, "qkv_proj", "attn_qkv"},
    {kQueryNorm, "", "attn_q_norm", Order::kAsIs, Mapping::kNormWeight},
    {kKeyNorm, "", "attn_k_norm", Order::kAsIs, Mapping::kNormWeight},
    {kAttentionOut, "", "attn_output"},
    {kAttentionOutputNorm, "", "post_attention_norm", Order::kAsIs, Mapping::kNormWeight},
    {kMlpInputNorm, "", "ffn_norm", Order::kAsIs, Mapping::kNormWeight},
    {kGateUp, "gate_proj", "ffn_gate"},
    {kGateUp, "up_proj", "ffn_up"},
    {kGateUp, "gate_up_proj", "ffn_up"},
    {kDown, "", "ffn_down"},
    {kMlpOutputNorm, "", "post_ffw_norm", Order::kAsIs, Mapping::kNormWeight},
    {kFinalNorm, "", "output_norm", Order::kAsIs, Mapping::kNormWeight},
    {kHead, "", "output"},
};

constexpr NameRow kQwen35Names[] = {
    {kMlpInputNorm, "", "post_attention_norm", Order::kAsIs, Mapping::kNormWeight},
    {kQkv, "in_proj_qkv", "attn_qkv", Order::kDeltaChannels},
    {kQkv, "in_proj_z", "attn_gate", Order::kDeltaValues},
    {kQkv, "in_proj_b", "ssm_beta", Order::kDeltaHeads},
    {kQkv, "in_proj_a", "ssm_alpha", Order::kDeltaHeads},
    {kDeltaConv, "", "ssm_conv1d", Order::kDeltaChannels},
    {kDeltaDecay, "", "ssm_a", Order::kDeltaHeads, Mapping::kDecay},
    {kDeltaStepBias, "", "ssm_dt.bias", Order::kDeltaHeads},
    {kDeltaNorm, "", "ssm_norm"},
    {kAttentionOut, "out_proj", "ssm_out", Order::kDeltaColumns},
};

constexpr KeyKind kCount = KeyKind::kCount, kNumber = KeyKind::kNumber;
// A count as the double that holds it exactly.
constexpr double Count(int64_t value) { return static_cast<double>(value); }

constexpr KeyRow kKeys[] = {
    {"context_length", kCount, [](const Config& c) { return Count(c.max_position_embeddings); }},
    {"embedding_length", kCount, [](const Config& c) { return Count(c.hidden_size); }},
    {"block_count", kCount, [](const Config& c) { return Count(c.num_hidden_layers); }},
    {"feed_forward_length", kCount, [](const Config& c) { return Count(c.intermediate_size); }},
    {"attention.head_count", kCount, [](const Config& c) { return Count(c.num_attention_heads); }},
    {"attention.head_count_kv", kCount,
     [](const Config& c) { return Count(c.num_key_value_heads); }},
    {"attention.key_length", kCount, [](const Config& c) { return Count(c.head_dim); }},
    {"attention.value_length", kCount, [](const Config& c) { return Count(c.head_dim); }},
    {"attention.layer_norm_rms_epsilon", kNumber, [](const Config& c) { return c.rms_norm_eps; }},
    {"rope.dimension_count", kCount, [](const Config& c) { return Count(c.rope.rotary_dim); }},
    {"rope.freq_base", kNumber, [](const Config& c) { return c.rope.theta; }},
    {"vocab_size", kCount, [](const Config& c) { return Count(c.vocab_size); }},
};

constexpr KeyRow kGemmaKeys[] = {
    {"attn_logit_softcapping", kNumber, [](const Config& c) { return c.attention_softcap; }},
    {"final_logit_softcapping", kNumber, [](const Config& c) { return c.logits_softcap; }},
};
constexpr KeyRow kGraniteKeys[] = {
    {"attention.scale", kNumber, [](const Config& c) { return c.attention_scale; }},
    {"embedding_scale", kNumber, [](const Config& c) { return c.embedding_multiplier; }},
    {"residual_scale", kNumber, [](const Config& c) { return c.residual_multiplier; }},
    {"logit_scale", kNumber, [](const Config& c) { return c.logits_divisor; }},
};
constexpr KeyRow kMinistralKeys[] = {
    {"attention.temperature_scale", kNumber, [](const Config& c) { return c.query_scale_beta; }},
};

// Returns how many layers lie from one with full attention to the next; 0 when they do not lie
// evenly.
int64_t AttentionInterval(const Config& c) {
  int64_t interval = 1;
  while (interval <= c.num_hidden_layers && c.KindOf(interval - 1).delta) ++interval;
  for (int64_t i = 0; i < c.num_hidden_layers; ++i) {
    if (c.KindOf(i).delta == ((i + 1) % interval == 0)) return 0;
  }
  return interval;
}

constexpr KeyRow kQwen35Keys[] = {
    {"full_attention_interval", kCount,
     [](const Config& c) { return Count(AttentionInterval(c)); }},
    {"ssm.conv_kernel", kCount, [](const Config& c) { return Count(c.delta.taps); }},
    {"ssm.state_size", kCount, [](const Config& c) { return Count(c.delta.key_dim); }},
    {"ssm.group_count", kCount, [](const Config& c) { return Count(c.delta.key_heads); }},
    {"ssm.time_step_rank", kCount, [](const Config& c) { return Count(c.delta.value_heads); }},
    {"ssm.inner_size", kCount, [](const Config& c) { return Count(c.delta.values()); }},
};

bool IsSquare(const Config& c) { return c.num_attention_heads * c.head_dim == c.hidden_size; }
bool ScalesByHead(const Config& c) {
  return std::abs(c.attention_scale * std::sqrt(Count(c.head_dim)) - 1) < 1e-6;
}
// Gemma's largest models, which llama.cpp tells by their layers, scale by the hidden state's share.
bool ScalesAsGemma(const Config& c, int64_t layers_of_largest) {
  if (c.num_hidden_layers != layers_of_largest) return ScalesByHead(c);
  const auto share = Count(c.hidden_size / c.num_attention_heads);
  return std::abs(c.attention_scale * std::sqrt(share) - 1) < 1e-6;
}
bool RotatesThreeOfFour(const Config& c) {
  for (int64_t i = 0; i < c.num_hidden_layers; ++i) {
    if (c.KindOf(i).rotates != ((i + 1) % 4 != 0)) return false;
  }
  return true;
}

constexpr Condition kSquare = {
    IsSquare, "llama.cpp wants num_attention_heads · head_dim to be hidden_size in this family"};
constexpr Condition kSquareOnly[] = {kSquare};
constexpr char kScale[] = "llama.cpp does not read query_pre_attn_scalar";
constexpr Condition kGemma2Conditions[] = {
    {[](const Config& c) { return ScalesAsGemma(c, 46); }, kScale},
    {[](const Config& c) { return c.attention_softcap > 0 && c.logits_softcap > 0; },
     "llama.cpp needs attn_logit_softcapping and final_logit_softcapping in this family"},
    {[](const Config& c) { return c.tie_word_embeddings; },
     "llama.cpp takes the embedding as the head in this family; this model has a head of its own"},
};
constexpr Condition kGemma3Conditions[] = {
    {[](const Config& c) { return ScalesAsGemma(c, 62); }, kScale},
    {[](const Config& c) { return c.attention_softcap == 0; },
     "llama.cpp does not read attn_logit_softcapping in this family"},
    {[](const Config& c) { return c.local_rope.type == RopeConfig::Type::kDefault; },
     "llama.cpp does not scale the RoPE of layers with a window"},
};
constexpr Condition kSmolLm3Conditions[] = {
    {RotatesThreeOfFour, "llama.cpp leaves each fourth layer, and no other, without RoPE"},
};
constexpr Condition kQwen35Conditions[] = {
    {[](const Config& c) { return c.delta.key_dim == c.delta.value_dim; },
     "llama.cpp wants linear_key_head_dim to be linear_value_head_dim"},
    {[](const Config& c) { return std::abs(c.rms_norm_eps - 1e-6) < 1e-8; },
     "llama.cpp norms the keys of linear attention with rms_norm_eps, transformers with 1e-6"},
};

constexpr GgufFamily kFamilies[] = {
    {.model_type = "llama",
     .architecture = "llama",
     .pairs_neighbours = true,
     .has_llama3_rope = true,
     .has_longrope = true,
     .has_output_biases = true},
    {.model_type = "mistral",
     .architecture = "llama",
     .pairs_neighbours = true,
     .has_llama3_rope = true,
     .has_longrope = true},
    {.model_type = "ministral3",
     .architecture = "mistral3",
     .pairs_neighbours = true,
     .has_llama3_rope = true,
     .has_longrope = true,
     .has_yarn_betas = true,
     .keys = kMinistralKeys},
    {.model_type = "qwen2", .architecture = "qwen2", .conditions = kSquareOnly},
    {.model_type = "qwen3", .architecture = "qwen3"},
    {.model_type = "qwen3_5_text",
     .architecture = "qwen35",
     .names = kQwen35Names,
     .keys = kQwen35Keys,
     .conditions = kQwen35Conditions},
    {.model_type = "gemma2",
     .architecture = "gemma2",
     .has_windows = true,
     .keys = kGemmaKeys,
     .conditions = kGemma2Conditions},
    {.model_type = "gemma3_text",
     .architecture = "gemma3",
     .has_windows = true,
     .keys = kGemmaKeys,
     .conditions = kGemma3Conditions},
    {.model_type = "phi3", .architecture = "phi3", .has_longrope = true, .conditions = kSquareOnly},
    {.model_type = "smollm3",
     .architecture = "smollm3",
     .pairs_neighbours = true,
     .conditions = kSmolLm3Conditions},
    {.model_type = "granite",
     .architecture = "granite",
     .pairs_neighbours = true,
     .has_llama3_rope = true,
     .has_longrope = true,
     .has_output_biases = true,
     .keys = kGraniteKeys},
    {.model_type = "olmo2",
     .architecture = "olmo2",
     .has_windows = true,
     .needs_head = true,
     .conditions = kSquareOnly},
    {.model_type = "olmo3",
     .architecture = "olmo2",
     .has_windows = true,
     .needs_head = true,
     .conditions = kSquareOnly},
    {.model_type = "glm4", .architecture = "glm4", .pairs_neighbours = true},
};

}  // namespace

absl::Span<const NameRow> CommonNames() { return kNames; }
absl::Span<const KeyRow> CommonKeys() { return kKeys; }

namespace {

absl::Status UnsupportedModel(const ModelConfig& config, std::string_view problem) {
  return Error(Reason::kModelUnsupported,
               Concat("no GGUF file of this ", config.family->model_type, " model: ", problem,
                      "; keep the model in Hugging Face's format"));
}

absl::Status CheckRope(const GgufFamily& family, const ModelConfig& config) {
  using enum RopeConfig::Type;
  const RopeConfig& rope = config.rope;
  if ((rope.type == kLlama3 && !family.has_llama3_rope) ||
      (rope.type == kLongrope && !family.has_longrope))
    return UnsupportedModel(config, "llama.cpp does not read this RoPE type in this family");
  if (rope.type != kYarn) return absl::OkStatus();
  if (!rope.truncate) return UnsupportedModel(config, "llama.cpp does not read RoPE's truncate");
  if (!family.has_yarn_betas && (rope.beta_fast != 32 || rope.beta_slow != 1))
    return UnsupportedModel(config,
                            "llama.cpp does not read beta_fast and beta_slow in this family");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<const GgufFamily*> FindGgufFamily(const ModelConfig& config) {
  const GgufFamily* family = nullptr;
  for (const GgufFamily& row : kFamilies) {
    if (row.model_type == config.family->model_type) family = &row;
  }
  if (family == nullptr) return UnsupportedModel(config, "llama.cpp does not have this family");
  if (config.activation != config.family->activation)
    return UnsupportedModel(config, "llama.cpp does not read the activation in this family");
  if (!family->has_output_biases &&
      (config.mlp_bias || (config.attention_bias && !config.family->attention_bias))) {
    return UnsupportedModel(config,
                            "llama.cpp has no biases of attention's output and of the "
                            "feed-forward block in this family");
  }
  for (const Condition& condition : family->conditions) {
    if (!condition.holds(config)) return UnsupportedModel(config, condition.otherwise);
  }
  FTD_RETURN_IF_ERROR(CheckRope(*family, config));
  return family;
}

}  // namespace ftd::gguf
