#include "lib/model/families.h"

#include "absl/strings/str_join.h"

namespace ftd {
namespace {

using enum Extent;
using enum ParameterRole;

// transformers modeling_llama.py: pre-norm layers, grouped-query attention, SwiGLU.
constexpr ParameterRow kLlamaParameters[] = {
    {kEmbedding, kHidden, {{{"model.embed_tokens", kVocab}}}},
    {kInputNorm, kNone, {{{"input_layernorm", kHidden}}}},
    {kQkv,
     kHidden,
     {{{"self_attn.q_proj", kQueries},
       {"self_attn.k_proj", kKeysOrValues},
       {"self_attn.v_proj", kKeysOrValues}}}},
    {kAttentionOut, kQueries, {{{"self_attn.o_proj", kHidden}}}},
    {kPostAttentionNorm, kNone, {{{"post_attention_layernorm", kHidden}}}},
    {kGateUp, kHidden, {{{"mlp.gate_proj", kIntermediate}, {"mlp.up_proj", kIntermediate}}}},
    {kDown, kIntermediate, {{{"mlp.down_proj", kHidden}}}},
    {kFinalNorm, kNone, {{{"model.norm", kHidden}}}},
    {kHead, kHidden, {{{"lm_head", kVocab}}}},
};

// Fields of LlamaConfig: with another value, transformers computes a model that the engine cannot.
constexpr FixedTrait kLlamaTraits[] = {
    {"hidden_act", "\"silu\"", "supported is silu"},
    {"attention_bias", "false", "projections with a bias are not supported"},
    {"mlp_bias", "false", "projections with a bias are not supported"},
    {"attention_dropout", "0.0",
     "dropout on attention probabilities is not supported: set it to 0"},
    {"partial_rotary_factor", "1.0", "a rotary embedding of part of a head is not supported"},
    {"is_causal", "true", "attention to later tokens is not supported"},
    {"transformers_weights", "null",
     "weights under another name are not supported: rename them to model.safetensors, and remove "
     "this field"},
};

constexpr Family kFamilies[] = {
    {"llama", "model.layers.", kLlamaParameters, kLlamaTraits},
};

}  // namespace

absl::Span<const Family> Families() { return kFamilies; }

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
