#include "lib/model/unsupported.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "lib/base/nearest.h"
#include "lib/model/families.h"

namespace ftd {
namespace {

constexpr char kExperts[] = "it is a mixture of experts, which ftd lacks";
constexpr char kLayerNorm[] =
    "its norms subtract the mean (LayerNorm), and its feed-forward block has no gate, which ftd "
    "lacks";
constexpr char kLayerNormGated[] = "its norms subtract the mean (LayerNorm), which ftd lacks";
constexpr char kImages[] = "it sees images too, and ftd does not know its text part";
constexpr char kStateSpace[] = "it has layers without attention (a state space), which ftd lacks";
constexpr char kLinearAttention[] =
    "it has layers of linear attention (Gated DeltaNet), which ftd lacks";
constexpr char kConvolution[] = "it has layers of short convolutions, which ftd lacks";
constexpr char kEncoder[] = "it is not a causal language model";
constexpr char kNearRelation[] = "its layers differ from those that ftd has";

struct Unsupported {
  std::string_view model_type;
  const char* lacking;
  std::string_view nearest;
};

constexpr Unsupported kTypes[] = {
    {"bert", kEncoder, ""},
    {"bloom", kLayerNorm, "llama"},
    {"cohere", kLayerNormGated, "llama"},
    {"cohere2", kLayerNormGated, "llama"},
    {"dbrx", kExperts, "llama"},
    {"deepseek_v2", kExperts, "llama"},
    {"deepseek_v3", kExperts, "llama"},
    {"ernie4_5", kNearRelation, "llama"},
    {"ernie4_5_moe", kExperts, "llama"},
    {"exaone4", kNearRelation, "olmo2"},
    {"falcon", kLayerNorm, "llama"},
    {"falcon_h1", kStateSpace, "llama"},
    {"falcon_mamba", kStateSpace, "llama"},
    {"gemma", kNearRelation, "gemma2"},
    {"gemma3n", kImages, "gemma3_text"},
    {"gemma4", kImages, "gemma3_text"},
    {"glm", kNearRelation, "glm4"},
    {"glm4_moe", kExperts, "glm4"},
    {"gpt2", kLayerNorm, "llama"},
    {"gpt_neox", kLayerNorm, "llama"},
    {"gpt_oss", kExperts, "llama"},
    {"gptj", kLayerNorm, "llama"},
    {"granitemoe", kExperts, "granite"},
    {"granitemoehybrid", kStateSpace, "granite"},
    {"helium", kNearRelation, "llama"},
    {"jamba", kStateSpace, "llama"},
    {"lfm2", kConvolution, "llama"},
    {"llama4", kExperts, "llama"},
    {"llama4_text", kExperts, "llama"},
    {"llava", kImages, "llama"},
    {"mamba", kStateSpace, "llama"},
    {"mamba2", kStateSpace, "llama"},
    {"minimax", kExperts, "llama"},
    {"ministral", kNearRelation, "mistral"},
    {"mistral3", kImages, "mistral"},
    {"mixtral", kExperts, "mistral"},
    {"mllama", kImages, "llama"},
    {"mpt", kLayerNorm, "llama"},
    {"nemotron", kLayerNorm, "llama"},
    {"nemotron_h", kStateSpace, "llama"},
    {"olmo", kLayerNormGated, "olmo2"},
    {"olmoe", kExperts, "olmo2"},
    {"opt", kLayerNorm, "llama"},
    {"phi", kLayerNorm, "phi3"},
    {"phi4_multimodal", kImages, "phi3"},
    {"phimoe", kExperts, "phi3"},
    {"pixtral", kImages, "mistral"},
    {"qwen2_5_vl", kImages, "qwen2"},
    {"qwen2_moe", kExperts, "qwen2"},
    {"qwen2_vl", kImages, "qwen2"},
    {"qwen3_5_moe", kExperts, "qwen3"},
    {"qwen3_moe", kExperts, "qwen3"},
    {"qwen3_next", kLinearAttention, "qwen3"},
    {"qwen3_vl", kImages, "qwen3"},
    {"qwen3_vl_moe", kExperts, "qwen3"},
    {"recurrent_gemma", kStateSpace, "gemma2"},
    {"rwkv", kStateSpace, "llama"},
    {"stablelm", kLayerNormGated, "llama"},
    {"starcoder2", kLayerNorm, "llama"},
    {"t5", kEncoder, ""},
};

std::vector<std::string> TrainedTypes() {
  std::vector<std::string> types;
  for (const Family& family : Families()) types.emplace_back(family.model_type);
  return types;
}

}  // namespace

std::string WhyUnsupported(std::string_view model_type) {
  for (const Unsupported& row : kTypes) {
    if (row.model_type != model_type) continue;
    if (row.nearest.empty()) return row.lacking;
    return absl::StrCat(row.lacking, "; the nearest type that ftd trains is ",
                        std::string(row.nearest));
  }
  const std::string nearest = Nearest(model_type, TrainedTypes());
  if (!nearest.empty())
    return absl::StrCat("ftd does not know it; the nearest type that it trains is ", nearest);
  return absl::StrCat("this build trains models of the types ", FamilyNames());
}

}  // namespace ftd
