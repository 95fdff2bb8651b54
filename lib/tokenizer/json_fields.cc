#include "lib/tokenizer/json_fields.h"

#include "lib/base/concat.h"
#include "lib/base/error.h"
#include "lib/base/json.h"

namespace ftd {
namespace {

using nlohmann::json;

absl::Status NotA(const char* type, const char* name, std::string_view what) {
  return CorruptTokenizer(Concat(what, ": \"", name, "\" must be ", type));
}

}  // namespace

absl::Status CorruptTokenizer(std::string_view message) {
  return Error(Reason::kModelCorrupt,
               Concat("tokenizer.json: ", message, "; fetch the model again"));
}

absl::Status UnsupportedTokenizer(std::string_view message) {
  return Error(Reason::kModelUnsupported, Concat("tokenizer.json: ", message));
}

absl::StatusOr<std::string> StringField(const json& object, const char* name,
                                        std::string_view what) {
  const json* field = FindField(object, name);
  if (field == nullptr || !field->is_string()) return NotA("a string", name, what);
  return field->get<std::string>();
}

absl::StatusOr<std::string> StringFieldOr(const json& object, const char* name,
                                          std::string_view fallback, std::string_view what) {
  if (FindField(object, name) == nullptr) return std::string(fallback);
  return StringField(object, name, what);
}

absl::StatusOr<bool> BoolField(const json& object, const char* name, std::string_view what) {
  const json* field = FindField(object, name);
  if (field == nullptr || !field->is_boolean()) return NotA("true or false", name, what);
  return field->get<bool>();
}

absl::StatusOr<bool> BoolFieldOr(const json& object, const char* name, bool fallback,
                                 std::string_view what) {
  if (FindField(object, name) == nullptr) return fallback;
  return BoolField(object, name, what);
}

absl::StatusOr<const json*> ArrayField(const json& object, const char* name,
                                       std::string_view what) {
  const json* field = FindField(object, name);
  if (field == nullptr || !field->is_array()) return NotA("an array", name, what);
  return field;
}

absl::StatusOr<std::string> TypeOf(const json& component, std::string_view what) {
  if (!component.is_object()) return CorruptTokenizer(Concat(what, " must be an object"));
  return StringField(component, "type", what);
}

// {"String": "…"} or {"Regex": "…"}, as `tokenizers` writes its Pattern.
absl::StatusOr<PatternField> PatternOf(const json& component, std::string_view what) {
  const json* pattern = FindField(component, "pattern");
  if (pattern == nullptr || !pattern->is_object() || pattern->size() != 1) {
    return NotA("{\"String\": …} or {\"Regex\": …}", "pattern", what);
  }
  PatternField field;
  field.is_regex = pattern->contains("Regex");
  FTD_ASSIGN_OR_RETURN(field.text,
                       StringField(*pattern, field.is_regex ? "Regex" : "String", what));
  // It would match at every position.
  if (field.text.empty()) return UnsupportedTokenizer(Concat(what, " with an empty pattern"));
  return field;
}

}  // namespace ftd
