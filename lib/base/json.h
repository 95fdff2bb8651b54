// JSON documents and numbers. Readers beside this one do other jobs: `field_reader.h` collects all
// that is wrong with a spec; `lib/runlog/message_json.h` reads and writes protobuf messages;
// `lib/tokenizer/model_json.h` and `lib/data/rows/json_row.h` take the parser's events, so that no
// document of a large file is ever built.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "nlohmann/json.hpp"

namespace ftd {

// Returns the object that `text` is, or nullopt if it is not JSON or not an object. Throws nothing.
template <typename Json = nlohmann::json>
std::optional<Json> ParseJsonObject(std::string_view text) {
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return std::nullopt;
  return json;
}

// Returns the field of that name, or nullptr if it is absent or null, or `json` is not an object.
template <typename Json>
const Json* FindField(const Json& json, const char* name) {
  if (!json.is_object()) return nullptr;
  const auto field = json.find(name);
  return field == json.end() || field->is_null() ? nullptr : &*field;
}

// Returns the first field of an object that is not among `known` and not turned off: by null,
// false, {}, [], "" or "none".
inline std::optional<std::string> FindUnknownSetting(const nlohmann::json& object,
                                                     std::span<const std::string_view> known) {
  const auto is_off = [](const nlohmann::json& value) {
    if (value.is_boolean()) return !value.get<bool>();
    if (!value.is_string()) return value.empty();
    const auto text = value.get<std::string>();
    return text.empty() || text == "none";
  };
  for (const auto& [name, value] : object.items()) {
    if (std::find(known.begin(), known.end(), name) == known.end() && !is_off(value)) return name;
  }
  return std::nullopt;
}

// Returns the integer `object` has under that name; `otherwise` when there is none, or none that
// fits. (A conversion by nlohmann's get or value is undefined for a number like 1e80.)
inline int64_t IntegerOr(const nlohmann::json& object, const char* name, int64_t otherwise) {
  const auto field = object.find(name);
  if (field == object.end() || !field->is_number_integer()) return otherwise;
  const bool fits = !field->is_number_unsigned() ||
                    field->get<uint64_t>() <= uint64_t{std::numeric_limits<int64_t>::max()};
  return fits ? field->get<int64_t>() : otherwise;
}

// A double that may be none: NaN and infinities are the strings "NaN", "Infinity" and "-Infinity",
// as in proto3's own JSON.
inline nlohmann::ordered_json JsonNumber(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return value;
}

}  // namespace ftd
