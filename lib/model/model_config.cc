#include "lib/model/model_config.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "lib/base/contained_file.h"
#include "lib/base/error.h"
#include "lib/base/json.h"
#include "lib/model/config_json.h"
#include "lib/model/families.h"
#include "lib/model/unsupported.h"

namespace ftd {
namespace {

using Json = nlohmann::json;

absl::Status CheckTraits(const Json& json, absl::Span<const FixedTrait> traits) {
  for (const FixedTrait& trait : traits) {
    const Json* value = FindField(json, trait.field);
    // Compared as JSON, so that a boolean is not mistaken for a string.
    if (value == nullptr || *value == Json::parse(trait.value)) continue;
    return ConfigUnsupported(
        absl::StrCat(trait.field, " is ", ShownValue(*value), "; ", trait.remedy));
  }
  return absl::OkStatus();
}

// Sets the family. Refuses a model whose maths differs from that of its family's row.
absl::Status ReadFamily(const Json& json, ModelConfig* config) {
  const std::string model_type = json.value("model_type", std::string("(none)"));
  config->family = FindFamily(model_type);
  if (config->family == nullptr) {
    return ConfigUnsupported(
        absl::StrCat("model_type is ", model_type, ": ", WhyUnsupported(model_type)));
  }
  FTD_RETURN_IF_ERROR(CheckTraits(json, CommonTraits()));
  return CheckTraits(json, config->family->fixed_traits);
}

// What bitsandbytes says of an NF4 model. Which weights are quantised, and how their scales are
// kept, the tensors tell; the compute dtype is the job's.
constexpr std::string_view kNf4Fields[] = {"quant_method",
                                           "_load_in_4bit",
                                           "load_in_4bit",
                                           "_load_in_8bit",
                                           "load_in_8bit",
                                           "bnb_4bit_quant_type",
                                           "bnb_4bit_use_double_quant",
                                           "bnb_4bit_compute_dtype",
                                           "bnb_4bit_quant_storage",
                                           "llm_int8_threshold",
                                           "llm_int8_skip_modules",
                                           "llm_int8_enable_fp32_cpu_offload",
                                           "llm_int8_has_fp16_weight"};

// Notes that bitsandbytes has quantised the projections to NF4. Every other kind of quantised model
// is refused: QLoRA cannot train on it.
absl::Status ReadQuantization(const Json& json, ModelConfig* config) {
  const Json* field = FindField(json, "quantization_config");
  if (field == nullptr) return absl::OkStatus();
  const Json& quantization = *field;
  if (!quantization.is_object()) return ConfigCorrupt("quantization_config must be an object");
  if (!quantization.contains("quant_method"))
    return ConfigCorrupt("quantization_config lacks its quant_method");
  const std::string method = quantization.at("quant_method").get<std::string>();
  std::string kind = method;
  if (method == "bitsandbytes") {
    // transformers' BitsAndBytesConfig means fp4 where no type is named. Without load_in_4bit it is
    // of the 8-bit kind.
    kind = quantization.value("load_in_4bit", false)
               ? quantization.value("bnb_4bit_quant_type", std::string("fp4"))
               : "8-bit";
  }
  config->nf4 = kind == "nf4";
  if (config->nf4) {
    const auto unknown = FindUnknownSetting(quantization, kNf4Fields);
    if (!unknown) return absl::OkStatus();
    return ConfigUnsupported(absl::StrCat("quantization_config.", *unknown, " is not supported"));
  }
  return ConfigUnsupported(absl::StrCat(
      "quantization_config says ", method, kind == method ? "" : absl::StrCat(" ", kind),
      "; take the unquantised model, or for mode qlora one that bitsandbytes quantised to nf4"));
}

// Returns the id, or the first of a list of them; -1 where there is none.
int64_t FirstTokenId(const Json& json, const char* name) {
  if (!json.contains(name)) return -1;
  const Json& value = json[name].is_array() && !json[name].empty() ? json[name][0] : json[name];
  return value.is_number_integer() ? value.get<int64_t>() : -1;
}

absl::Status ReadSizes(const Json& json, ModelConfig* config) {
  const Family& family = *config->family;
  FTD_RETURN_IF_ERROR(ReadSize(json, "vocab_size", family.vocab_size, &config->vocab_size));
  FTD_RETURN_IF_ERROR(ReadSize(json, "hidden_size", family.hidden_size, &config->hidden_size));
  FTD_RETURN_IF_ERROR(
      ReadSize(json, "intermediate_size", family.intermediate_size, &config->intermediate_size));
  // The bound is one on the list of the layers' kinds.
  FTD_RETURN_IF_ERROR(ReadSize(json, "num_hidden_layers", family.num_hidden_layers,
                               &config->num_hidden_layers, /*most=*/1 << 16));
  FTD_RETURN_IF_ERROR(ReadSize(json, "num_attention_heads", family.num_attention_heads,
                               &config->num_attention_heads));
  // null means as many as query heads, whatever the default is.
  const bool own_default = family.num_key_value_heads > 0 && !json.contains("num_key_value_heads");
  FTD_RETURN_IF_ERROR(
      ReadSize(json, "num_key_value_heads",
               own_default ? family.num_key_value_heads : config->num_attention_heads,
               &config->num_key_value_heads));
  FTD_RETURN_IF_ERROR(ReadSize(json, "max_position_embeddings", family.max_position_embeddings,
                               &config->max_position_embeddings));
  // A hidden size smaller than the heads would make the share 0, which ReadSize takes for
  // "required".
  const int64_t even_share =
      std::max<int64_t>(1, config->hidden_size / config->num_attention_heads);
  FTD_RETURN_IF_ERROR(ReadSize(json, "head_dim", family.head_dim > 0 ? family.head_dim : even_share,
                               &config->head_dim));
  // Grouped-query attention shares each key head among equally many query heads, and RoPE rotates
  // one half of a head against the other.
  if (config->num_attention_heads % config->num_key_value_heads != 0)
    return ConfigCorrupt("num_attention_heads must be a multiple of num_key_value_heads");
  if (config->head_dim % 2 != 0) return ConfigCorrupt("head_dim must be even");
  return absl::OkStatus();
}

absl::Status ReadActivation(const Json& json, ModelConfig* config) {
  const char* name = config->family->activation_field;
  config->activation = config->family->activation;
  const Json* field = FindField(json, name);
  if (field == nullptr) return absl::OkStatus();
  if (*field == "silu" || *field == "swish") {
    config->activation = Activation::kSilu;
  } else if (*field == "gelu_pytorch_tanh") {
    config->activation = Activation::kGelu;
  } else {
    return ConfigUnsupported(absl::StrCat(name, " is ", ShownValue(*field),
                                          "; supported are silu and gelu_pytorch_tanh"));
  }
  return absl::OkStatus();
}

absl::Status ReadGemmaScaling(const Json& json, ModelConfig* config) {
  config->embedding_multiplier = std::sqrt(static_cast<double>(config->hidden_size));
  config->embedding_multiplier_rounded = true;
  double scalar = 256;
  FTD_RETURN_IF_ERROR(ReadPositive(json, "query_pre_attn_scalar", &scalar));
  config->attention_scale = 1 / std::sqrt(scalar);
  config->logits_softcap = config->family->logits_softcap;
  return ReadPositiveOrNone(json, "final_logit_softcapping", &config->logits_softcap);
}

absl::Status ReadGraniteScaling(const Json& json, ModelConfig* config) {
  config->attention_scale = 1;
  FTD_RETURN_IF_ERROR(ReadPositive(json, "attention_multiplier", &config->attention_scale));
  FTD_RETURN_IF_ERROR(ReadPositive(json, "embedding_multiplier", &config->embedding_multiplier));
  FTD_RETURN_IF_ERROR(ReadPositive(json, "residual_multiplier", &config->residual_multiplier));
  return ReadPositive(json, "logits_scaling", &config->logits_divisor);
}

absl::Status ReadScaling(const Json& json, ModelConfig* config) {
  config->attention_scale = 1 / std::sqrt(static_cast<double>(config->head_dim));
  config->attention_softcap = config->family->attention_softcap;
  if (config->attention_softcap > 0) {
    FTD_RETURN_IF_ERROR(
        ReadPositiveOrNone(json, "attn_logit_softcapping", &config->attention_softcap));
  }
  switch (config->family->scaling) {
    case Scaling::kNone:
      return absl::OkStatus();
    case Scaling::kGemma:
      return ReadGemmaScaling(json, config);
    case Scaling::kGranite:
      return ReadGraniteScaling(json, config);
  }
  return absl::OkStatus();
}

// The bound keeps the number of channels within 64 bits.
absl::Status ReadDelta(const Json& json, const Family& family, DeltaShape* delta) {
  constexpr int64_t kMost = 1 << 20;
  const DeltaShape& of = family.delta;
  const auto read = [&](const char* name, int64_t fallback, int64_t* value) {
    return ReadSize(json, name, fallback, value, kMost);
  };
  FTD_RETURN_IF_ERROR(read("linear_num_key_heads", of.key_heads, &delta->key_heads));
  FTD_RETURN_IF_ERROR(read("linear_num_value_heads", of.value_heads, &delta->value_heads));
  FTD_RETURN_IF_ERROR(read("linear_key_head_dim", of.key_dim, &delta->key_dim));
  FTD_RETURN_IF_ERROR(read("linear_value_head_dim", of.value_dim, &delta->value_dim));
  FTD_RETURN_IF_ERROR(read("linear_conv_kernel_dim", of.taps, &delta->taps));
  if (delta->value_heads % delta->key_heads != 0)
    return ConfigCorrupt("linear_num_value_heads must be a multiple of linear_num_key_heads");
  return absl::OkStatus();
}

// Reads how layers attend: biases, windows, rotations.
absl::Status ReadAttention(const Json& json, ModelConfig* config) {
  const Family& family = *config->family;
  config->attention_bias = family.attention_bias;
  if (family.reads_attention_bias)
    FTD_RETURN_IF_ERROR(ReadFlag(json, "attention_bias", &config->attention_bias));
  FTD_ASSIGN_OR_RETURN(config->layer_kinds,
                       ReadLayerKinds(json, family.layers, config->num_hidden_layers));
  config->attention_gate = family.attention_gate;
  if (family.delta.value_heads > 0) FTD_RETURN_IF_ERROR(ReadDelta(json, family, &config->delta));
  config->rope_interleaved = family.rope_interleaved;
  config->rope_in_float32 = family.rope_in_float32;
  FTD_RETURN_IF_ERROR(ReadRope(json, family.rope, config->head_dim, config->max_position_embeddings,
                               &config->rope, &config->local_rope));
  if (!family.scales_queries) return absl::OkStatus();
  const Json* parameters = FindField(json, "rope_parameters");
  if (parameters == nullptr || FindField(*parameters, "llama_4_scaling_beta") == nullptr)
    return ConfigCorrupt("rope_parameters.llama_4_scaling_beta is missing");
  return ReadPositive(*parameters, "llama_4_scaling_beta", &config->query_scale_beta);
}

// Returns the id of the token whose embedding gets no gradient, or -1.
int64_t PadTokenId(const Json& json, const ModelConfig& config) {
  const int64_t none = -1 - config.vocab_size;
  const int64_t fallback = json.contains("pad_token_id") || config.family->pad_token_id < 0
                               ? none
                               : config.family->pad_token_id;
  int64_t id = IntegerOr(json, "pad_token_id", fallback);
  // nn.Embedding counts a negative one from the end of the vocabulary.
  if (id < 0) id += config.vocab_size;
  return id < 0 || id >= config.vocab_size ? -1 : id;
}

// Reads the fields in an order in which defaults have what they depend on. May throw
// Json::exception, for a field of an unexpected JSON type.
absl::StatusOr<ModelConfig> Parse(const Json& json) {
  ModelConfig config;
  FTD_RETURN_IF_ERROR(ReadFamily(json, &config));
  const Family& family = *config.family;
  FTD_RETURN_IF_ERROR(ReadSizes(json, &config));
  FTD_RETURN_IF_ERROR(ReadActivation(json, &config));
  if (family.reads_mlp_bias) FTD_RETURN_IF_ERROR(ReadFlag(json, "mlp_bias", &config.mlp_bias));
  config.norm = family.norm;
  config.rms_norm_eps = family.rms_norm_eps;
  FTD_RETURN_IF_ERROR(ReadPositive(json, "rms_norm_eps", &config.rms_norm_eps));
  config.tie_word_embeddings = family.tie_word_embeddings;
  FTD_RETURN_IF_ERROR(ReadFlag(json, "tie_word_embeddings", &config.tie_word_embeddings));
  FTD_RETURN_IF_ERROR(ReadScaling(json, &config));
  FTD_RETURN_IF_ERROR(ReadAttention(json, &config));
  FTD_RETURN_IF_ERROR(ReadQuantization(json, &config));
  config.eos_token_id = FirstTokenId(json, "eos_token_id");
  config.pad_token_id = PadTokenId(json, config);
  return config;
}

// Parses the text part of a model with images: `text_config`, with what the whole says of weights
// and tokens. Its head is tied by the whole's field.
absl::StatusOr<ModelConfig> ParsePart(const Json& whole, const Family& family) {
  const Json* field = FindField(whole, "text_config");
  if (field == nullptr || !field->is_object())
    return ConfigCorrupt("text_config is missing, or not an object");
  Json text = *field;
  text["model_type"] = family.model_type;
  for (const char* name :
       {"tie_word_embeddings", "quantization_config", "eos_token_id", "transformers_weights"}) {
    if (whole.contains(name)) text[name] = whole.at(name);
  }
  FTD_ASSIGN_OR_RETURN(ModelConfig config, Parse(text));
  config.tensor_prefix = family.part.prefix;
  config.own_tensor_prefix = family.part.own_prefix;
  return config;
}

}  // namespace

bool ModelConfig::UsesLocalRope() const {
  return std::any_of(layer_kinds.begin(), layer_kinds.end(),
                     [](const LayerKind& kind) { return kind.local_rope; });
}

absl::StatusOr<ModelConfig> ParseModelConfig(std::string_view text) {
  const auto json = ParseJsonObject(text);
  if (!json.has_value()) return ConfigCorrupt("not a JSON object; download the model again");
  try {
    const Family* part = FindFamilyOfPart(json->value("model_type", std::string()));
    return part == nullptr ? Parse(*json) : ParsePart(*json, *part);
  } catch (const Json::exception& error) {  // a field of another JSON type than its name promises
    return ConfigCorrupt(error.what());
  }
}

absl::StatusOr<ModelConfig> ReadModelConfig(const std::filesystem::path& model_dir) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(model_dir, ignored)) {
    return Error(Reason::kModelNotFound,
                 absl::StrCat("model directory ", model_dir.string(), " does not exist"));
  }
  auto text = ReadContained(model_dir, "config.json");
  if (absl::IsNotFound(text.status())) {
    return Error(Reason::kModelNotFound,
                 absl::StrCat(model_dir.string(),
                              " has no config.json; it must be a Hugging Face model directory"));
  }
  if (!text.ok()) return text.status();
  auto config = ParseModelConfig(*text);
  if (!config.ok()) return Prefixed(config.status(), absl::StrCat(model_dir.string(), "/"));
  return config;
}

}  // namespace ftd
