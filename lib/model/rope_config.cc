#include "lib/model/rope_config.h"

#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/json.h"
#include "lib/model/config_json.h"

namespace ftd {
namespace {

using Json = nlohmann::json;
using Type = RopeConfig::Type;

// One object of rope parameters, with its name for errors.
struct Parameters {
  Json json;
  std::string name;
};

// What a type needs besides theta.
absl::Status RequireFields(const Parameters& p, std::initializer_list<const char*> fields) {
  for (const char* field : fields) {
    if (FindField(p.json, field) == nullptr)
      return ConfigCorrupt(absl::StrCat(p.name, ".", field, " is missing"));
  }
  return absl::OkStatus();
}

absl::Status ReadLlama3(const Parameters& p, RopeConfig* rope) {
  // These have no defaults in transformers either.
  FTD_RETURN_IF_ERROR(RequireFields(p, {"factor", "low_freq_factor", "high_freq_factor"}));
  FTD_RETURN_IF_ERROR(ReadPositive(p.json, "low_freq_factor", &rope->low_freq_factor));
  FTD_RETURN_IF_ERROR(ReadPositive(p.json, "high_freq_factor", &rope->high_freq_factor));
  // The engine divides by their difference.
  if (rope->high_freq_factor <= rope->low_freq_factor) {
    return ConfigCorrupt(
        absl::StrCat(p.name, ".high_freq_factor must be greater than low_freq_factor"));
  }
  return absl::OkStatus();
}

// 0.1 · m · ln(scale) + 1, the factor of attention for a context stretched by `scale`.
double YarnScale(double scale, double m) {
  return scale <= 1 ? 1.0 : 0.1 * m * std::log(scale) + 1.0;
}

absl::Status ReadYarn(const Parameters& p, RopeConfig* rope) {
  FTD_RETURN_IF_ERROR(RequireFields(p, {"factor"}));
  FTD_RETURN_IF_ERROR(ReadPositive(p.json, "beta_fast", &rope->beta_fast));
  FTD_RETURN_IF_ERROR(ReadPositive(p.json, "beta_slow", &rope->beta_slow));
  FTD_RETURN_IF_ERROR(ReadFlag(p.json, "truncate", &rope->truncate));
  double mscale = 0, mscale_all_dim = 0;
  FTD_RETURN_IF_ERROR(ReadPositive(p.json, "mscale", &mscale));
  FTD_RETURN_IF_ERROR(ReadPositive(p.json, "mscale_all_dim", &mscale_all_dim));
  rope->attention_factor =
      mscale > 0 && mscale_all_dim > 0
          ? YarnScale(rope->factor, mscale) / YarnScale(rope->factor, mscale_all_dim)
          : YarnScale(rope->factor, 1);
  return ReadPositive(p.json, "attention_factor", &rope->attention_factor);
}

absl::Status ReadFactors(const Parameters& p, const char* name, int64_t count,
                         std::vector<double>* factors) {
  const Json& list = p.json.at(name);
  bool good = list.is_array() && static_cast<int64_t>(list.size()) == count;
  for (const Json& factor : list) good = good && factor.is_number() && factor.get<double>() > 0;
  if (!good) {
    return ConfigCorrupt(
        absl::StrCat(p.name, ".", name, " must be a list of ", count, " positive numbers"));
  }
  *factors = list.get<std::vector<double>>();
  return absl::OkStatus();
}

absl::Status ReadLongrope(const Parameters& p, RopeConfig* rope) {
  FTD_RETURN_IF_ERROR(RequireFields(p, {"short_factor", "long_factor"}));
  const int64_t count = rope->rotary_dim / 2;
  FTD_RETURN_IF_ERROR(ReadFactors(p, "short_factor", count, &rope->short_factor));
  FTD_RETURN_IF_ERROR(ReadFactors(p, "long_factor", count, &rope->long_factor));
  if (FindField(p.json, "factor") == nullptr)
    rope->factor = rope->max_position_embeddings / rope->original_max_position_embeddings;
  rope->attention_factor =
      rope->factor <= 1 ? 1.0
                        : std::sqrt(1 + std::log(rope->factor) /
                                            std::log(rope->original_max_position_embeddings));
  return ReadPositive(p.json, "attention_factor", &rope->attention_factor);
}

absl::StatusOr<Type> TypeOf(const Parameters& p, const RopeDefaults& defaults) {
  // Older files spell `rope_type` as `type`.
  const Json type_json = p.json.value("rope_type", p.json.value("type", Json("default")));
  const std::string type = ShownValue(type_json);
  if (defaults.phi3 && (type == "su" || type == "yarn")) return Type::kLongrope;
  constexpr struct {
    std::string_view word;
    Type type;
  } kTypes[] = {{"default", Type::kDefault}, {"linear", Type::kLinear},
                {"dynamic", Type::kDynamic}, {"llama3", Type::kLlama3},
                {"yarn", Type::kYarn},       {"longrope", Type::kLongrope}};
  for (const auto& entry : kTypes) {
    if (type == entry.word) return entry.type;
  }
  return ConfigUnsupported(
      absl::StrCat(p.name, " has rope_type ", type,
                   "; supported are default, linear, dynamic, llama3, yarn and longrope"));
}

// Returns how many features of a head rotate. transformers truncates the product, and rounds an
// odd number of features up by the pairs that it makes of them; such a head is refused.
absl::StatusOr<int64_t> RotaryDim(const Parameters& p, const Json& json,
                                  const RopeDefaults& defaults, int64_t head_dim) {
  double part = defaults.partial_rotary_factor;
  FTD_RETURN_IF_ERROR(ReadPositive(json, "partial_rotary_factor", &part));
  FTD_RETURN_IF_ERROR(ReadPositive(p.json, "partial_rotary_factor", &part));
  if (part != 1 && !defaults.partial) {
    return ConfigUnsupported(absl::StrCat(
        "partial_rotary_factor is ", part,
        "; a rotary embedding of part of a head is not supported for this model_type"));
  }
  const auto dim = static_cast<int64_t>(static_cast<double>(head_dim) * part);
  if (part > 1 || dim < 2 || dim % 2 != 0) {
    return ConfigCorrupt(absl::StrCat("partial_rotary_factor ", part, " makes ", dim, " of the ",
                                      head_dim, " features of a head rotate; it must be an even ",
                                      "number of them"));
  }
  return dim;
}

// Reads one object of parameters; theta is in `rope` already.
absl::Status ReadParameters(const Parameters& p, const Json& json, const RopeDefaults& defaults,
                            int64_t head_dim, RopeConfig* rope) {
  FTD_RETURN_IF_ERROR(ReadPositive(p.json, "rope_theta", &rope->theta));
  FTD_ASSIGN_OR_RETURN(rope->type, TypeOf(p, defaults));
  FTD_ASSIGN_OR_RETURN(rope->rotary_dim, RotaryDim(p, json, defaults, head_dim));
  FTD_RETURN_IF_ERROR(ReadPositive(p.json, "factor", &rope->factor));
  rope->original_max_position_embeddings = rope->max_position_embeddings;
  FTD_RETURN_IF_ERROR(ReadPositive(p.json, "original_max_position_embeddings",
                                   &rope->original_max_position_embeddings));
  if (defaults.phi3) {
    // Phi3Config's own field, 4096 by default, takes precedence over the one inside the object.
    rope->original_max_position_embeddings = 4096;
    FTD_RETURN_IF_ERROR(ReadPositive(json, "original_max_position_embeddings",
                                     &rope->original_max_position_embeddings));
  }
  switch (rope->type) {
    case Type::kDefault:
      return absl::OkStatus();
    case Type::kLinear:
    case Type::kDynamic:
      return RequireFields(p, {"factor"});
    case Type::kLlama3:
      return ReadLlama3(p, rope);
    case Type::kYarn:
      return ReadYarn(p, rope);
    case Type::kLongrope:
      return ReadLongrope(p, rope);
  }
  return absl::OkStatus();
}

// transformers 5 has one object `rope_parameters` with rope_theta inside; transformers 4 has
// `rope_theta` next to `rope_scaling` (null for the default). Both spellings occur on the hub,
// because transformers rewrites a config only when it saves the model again. Of the two objects a
// `rope_scaling` with something in it wins.
absl::StatusOr<Parameters> FindParameters(const Json& json) {
  const Json* old = FindField(json, "rope_scaling");
  const char* name = old != nullptr && !old->empty() ? "rope_scaling" : "rope_parameters";
  const Json* field = FindField(json, name);
  if (field == nullptr) return Parameters{Json::object(), name};
  if (!field->is_object()) return ConfigCorrupt(absl::StrCat(name, " must be an object"));
  return Parameters{*field, name};
}

// Of `rope_parameters`, the object of a layer type; for full attention with what `rope_scaling`
// says put over it. Everything else of a flat object is not read, as transformers does not; nor
// does it look at the old spelling `type` beside the rope_type that an absent object has.
absl::StatusOr<Parameters> FindLayerParameters(const Json& json, const char* layer_type) {
  Parameters p{{{"rope_type", "default"}}, absl::StrCat("rope_parameters.", layer_type)};
  const Json* all = FindField(json, "rope_parameters");
  if (all != nullptr && !all->is_object())
    return ConfigCorrupt("rope_parameters must be an object");
  const Json* own = all != nullptr ? FindField(*all, layer_type) : nullptr;
  if (own != nullptr) p.json = *own;
  const Json* old = FindField(json, "rope_scaling");
  if (old != nullptr && std::string_view(layer_type) == "full_attention") {
    if (!old->is_object()) return ConfigCorrupt("rope_scaling must be an object");
    p.json.update(*old);
    p.name = "rope_scaling";
  }
  if (!p.json.is_object()) return ConfigCorrupt(absl::StrCat(p.name, " must be an object"));
  return p;
}

}  // namespace

absl::Status ReadRope(const Json& json, const RopeDefaults& defaults, int64_t head_dim,
                      int64_t max_position_embeddings, RopeConfig* rope, RopeConfig* local) {
  rope->theta = defaults.theta;
  rope->max_position_embeddings = static_cast<double>(max_position_embeddings);
  *local = *rope;
  FTD_RETURN_IF_ERROR(ReadPositive(json, "rope_theta", &rope->theta));
  if (!defaults.by_layer_type) {
    FTD_ASSIGN_OR_RETURN(const Parameters p, FindParameters(json));
    FTD_RETURN_IF_ERROR(ReadParameters(p, json, defaults, head_dim, rope));
    *local = *rope;
    return absl::OkStatus();
  }
  FTD_ASSIGN_OR_RETURN(const Parameters full, FindLayerParameters(json, "full_attention"));
  FTD_RETURN_IF_ERROR(ReadParameters(full, json, defaults, head_dim, rope));
  local->theta = defaults.local_theta;
  if (defaults.local_theta_field != nullptr)
    FTD_RETURN_IF_ERROR(ReadPositive(json, defaults.local_theta_field, &local->theta));
  FTD_ASSIGN_OR_RETURN(const Parameters sliding, FindLayerParameters(json, "sliding_attention"));
  FTD_RETURN_IF_ERROR(ReadParameters(sliding, json, defaults, head_dim, local));
  // transformers looks for it beside the objects of the layer types, not within them.
  rope->truncate = local->truncate = true;
  return absl::OkStatus();
}

}  // namespace ftd
