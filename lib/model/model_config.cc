#include "lib/model/model_config.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/model/families.h"

namespace ftd {
namespace {

using Json = nlohmann::json;

absl::Status Corrupt(const std::string& message) {
  return Error(Reason::kModelCorrupt, "config.json: " + message);
}

absl::Status Unsupported(const std::string& message) {
  return Error(Reason::kModelUnsupported, "config.json: " + message);
}

// Reads a positive integer; `fallback` when absent or null; 0 means required. The bound keeps the
// product of two sizes within 64 bits.
absl::Status ReadSize(const Json& json, const char* name, int64_t fallback, int64_t* value) {
  const Json* field = FindField(json, name);
  if (field == nullptr) {
    if (fallback == 0) return Corrupt(absl::StrCat(name, " is missing"));
    *value = fallback;
    return absl::OkStatus();
  }
  constexpr int64_t kMost = int64_t{1} << 31;
  if (!field->is_number_integer() || field->get<int64_t>() < 1 || field->get<int64_t>() > kMost) {
    return Corrupt(absl::StrCat(name, " is ", field->dump(), "; it must be a positive integer"));
  }
  *value = field->get<int64_t>();
  return absl::OkStatus();
}

// Reads a positive number; the value stays what it was when the field is absent or null.
absl::Status ReadPositive(const Json& json, const char* name, double* value) {
  const Json* field = FindField(json, name);
  if (field == nullptr) return absl::OkStatus();
  if (!field->is_number() || !std::isfinite(field->get<double>()) || field->get<double>() <= 0) {
    return Corrupt(absl::StrCat(name, " is ", field->dump(), "; it must be a positive number"));
  }
  *value = field->get<double>();
  return absl::OkStatus();
}

// transformers 5 has one object `rope_parameters` with rope_theta inside; transformers 4 has
// `rope_theta` next to `rope_scaling` (null for the default). Both spellings occur on the hub,
// because transformers rewrites a config only when it saves the model again. Of the two objects a
// `rope_scaling` with something in it wins.
absl::Status ReadRope(const Json& json, ModelConfig* config) {
  RopeConfig& rope = config->rope;
  rope.original_max_position_embeddings = static_cast<double>(config->max_position_embeddings);
  FTD_RETURN_IF_ERROR(ReadPositive(json, "rope_theta", &rope.theta));
  const Json* old = FindField(json, "rope_scaling");
  const char* name = old != nullptr && !old->empty() ? "rope_scaling" : "rope_parameters";
  const Json* field = FindField(json, name);
  if (field == nullptr) return absl::OkStatus();
  const Json& scaling = *field;
  if (!scaling.is_object()) return Corrupt(absl::StrCat(name, " must be an object"));
  FTD_RETURN_IF_ERROR(ReadPositive(scaling, "rope_theta", &rope.theta));
  // Older files spell `rope_type` as `type`.
  const Json type_json = scaling.value("rope_type", scaling.value("type", Json("default")));
  const std::string type = type_json.is_string() ? type_json.get<std::string>() : type_json.dump();
  if (type == "default") return absl::OkStatus();
  if (type != "llama3") {
    return Unsupported(
        absl::StrCat(name, " has rope_type ", type, "; supported are default and llama3"));
  }
  rope.type = RopeConfig::Type::kLlama3;
  // These have no defaults in transformers either.
  for (const char* field : {"factor", "low_freq_factor", "high_freq_factor"}) {
    if (!scaling.contains(field)) return Corrupt(absl::StrCat(name, ".", field, " is missing"));
  }
  FTD_RETURN_IF_ERROR(ReadPositive(scaling, "factor", &rope.factor));
  FTD_RETURN_IF_ERROR(ReadPositive(scaling, "low_freq_factor", &rope.low_freq_factor));
  FTD_RETURN_IF_ERROR(ReadPositive(scaling, "high_freq_factor", &rope.high_freq_factor));
  FTD_RETURN_IF_ERROR(ReadPositive(scaling, "original_max_position_embeddings",
                                   &rope.original_max_position_embeddings));
  // The engine divides by their difference.
  if (rope.high_freq_factor <= rope.low_freq_factor) {
    return Corrupt(absl::StrCat(name, ".high_freq_factor must be greater than low_freq_factor"));
  }
  return absl::OkStatus();
}

absl::Status CheckTraits(const Json& json, absl::Span<const FixedTrait> traits) {
  for (const FixedTrait& trait : traits) {
    const Json* value = FindField(json, trait.field);
    // Compared as JSON, so that a boolean is not mistaken for a string.
    if (value == nullptr || *value == Json::parse(trait.value)) continue;
    return Unsupported(absl::StrCat(trait.field, " is ",
                                    value->is_string() ? value->get<std::string>() : value->dump(),
                                    "; ", trait.remedy));
  }
  return absl::OkStatus();
}

absl::Status CheckLayerTypes(const Json& json, const Family& family) {
  const Json* types = family.reads_layer_types ? FindField(json, "layer_types") : nullptr;
  if (types == nullptr) return absl::OkStatus();
  if (!types->is_array()) return Corrupt("layer_types must be a list");
  for (const Json& type : *types) {
    if (type == "full_attention") continue;
    return Unsupported(
        absl::StrCat("layer_types has ", type.dump(), "; supported is full_attention alone"));
  }
  return absl::OkStatus();
}

// Sets the family. Refuses a model whose maths differs from that of its family's row.
absl::Status ReadFamily(const Json& json, ModelConfig* config) {
  const std::string model_type = json.value("model_type", std::string("(none)"));
  config->family = FindFamily(model_type);
  if (config->family == nullptr) {
    return Unsupported(absl::StrCat("model_type is ", model_type,
                                    "; this build trains models of the types ", FamilyNames()));
  }
  FTD_RETURN_IF_ERROR(CheckTraits(json, CommonTraits()));
  FTD_RETURN_IF_ERROR(CheckTraits(json, config->family->fixed_traits));
  return CheckLayerTypes(json, *config->family);
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
  if (!quantization.is_object()) return Corrupt("quantization_config must be an object");
  if (!quantization.contains("quant_method"))
    return Corrupt("quantization_config lacks its quant_method");
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
    return Unsupported(absl::StrCat("quantization_config.", *unknown, " is not supported"));
  }
  return Unsupported(absl::StrCat(
      "quantization_config says ", method, kind == method ? "" : absl::StrCat(" ", kind),
      "; take the unquantised model, or for mode qlora one that bitsandbytes quantised to nf4"));
}

// Returns the id, or the first of a list of them; -1 where there is none.
int64_t FirstTokenId(const Json& json, const char* name) {
  if (!json.contains(name)) return -1;
  const Json& value = json[name].is_array() && !json[name].empty() ? json[name][0] : json[name];
  return value.is_number_integer() ? value.get<int64_t>() : -1;
}

// Reads the fields in an order in which defaults have what they depend on. May throw
// Json::exception, for a field of an unexpected JSON type.
absl::StatusOr<ModelConfig> Parse(const Json& json) {
  ModelConfig config;
  FTD_RETURN_IF_ERROR(ReadFamily(json, &config));
  FTD_RETURN_IF_ERROR(ReadSize(json, "vocab_size", 0, &config.vocab_size));
  FTD_RETURN_IF_ERROR(ReadSize(json, "hidden_size", 0, &config.hidden_size));
  FTD_RETURN_IF_ERROR(ReadSize(json, "intermediate_size", 0, &config.intermediate_size));
  FTD_RETURN_IF_ERROR(ReadSize(json, "num_hidden_layers", 0, &config.num_hidden_layers));
  FTD_RETURN_IF_ERROR(ReadSize(json, "num_attention_heads", 0, &config.num_attention_heads));
  const Family& family = *config.family;
  // null means as many as query heads, whatever the default is.
  const bool own_default = family.num_key_value_heads > 0 && !json.contains("num_key_value_heads");
  FTD_RETURN_IF_ERROR(
      ReadSize(json, "num_key_value_heads",
               own_default ? family.num_key_value_heads : config.num_attention_heads,
               &config.num_key_value_heads));
  FTD_RETURN_IF_ERROR(ReadSize(json, "max_position_embeddings", family.max_position_embeddings,
                               &config.max_position_embeddings));
  // A hidden size smaller than the heads would make the share 0, which ReadSize takes for
  // "required".
  const int64_t even_share = std::max<int64_t>(1, config.hidden_size / config.num_attention_heads);
  FTD_RETURN_IF_ERROR(ReadSize(json, "head_dim", family.head_dim > 0 ? family.head_dim : even_share,
                               &config.head_dim));
  if (family.reads_attention_bias) config.attention_bias = json.value("attention_bias", false);
  // Grouped-query attention shares each key head among equally many query heads, and RoPE rotates
  // one half of a head against the other.
  if (config.num_attention_heads % config.num_key_value_heads != 0) {
    return Corrupt("num_attention_heads must be a multiple of num_key_value_heads");
  }
  if (config.head_dim % 2 != 0) return Corrupt("head_dim must be even");
  FTD_RETURN_IF_ERROR(ReadPositive(json, "rms_norm_eps", &config.rms_norm_eps));
  config.tie_word_embeddings = json.value("tie_word_embeddings", false);
  FTD_RETURN_IF_ERROR(ReadRope(json, &config));
  FTD_RETURN_IF_ERROR(ReadQuantization(json, &config));
  config.eos_token_id = FirstTokenId(json, "eos_token_id");
  // nn.Embedding counts a negative one from the end of the vocabulary.
  config.pad_token_id = IntegerOr(json, "pad_token_id", -1 - config.vocab_size);
  if (config.pad_token_id < 0) config.pad_token_id += config.vocab_size;
  if (config.pad_token_id < 0 || config.pad_token_id >= config.vocab_size) config.pad_token_id = -1;
  return config;
}

}  // namespace

absl::StatusOr<ModelConfig> ParseModelConfig(std::string_view text) {
  const auto json = ParseJsonObject(text);
  if (!json.has_value()) return Corrupt("not a JSON object; download the model again");
  try {
    return Parse(*json);
  } catch (const Json::exception& error) {  // a field of another JSON type than its name promises
    return Corrupt(error.what());
  }
}

absl::StatusOr<ModelConfig> ReadModelConfig(const std::filesystem::path& model_dir) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(model_dir, ignored)) {
    return Error(Reason::kModelNotFound,
                 absl::StrCat("model directory ", model_dir.string(), " does not exist"));
  }
  auto text = ReadFile(model_dir / "config.json");
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
