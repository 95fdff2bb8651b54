// Numbers in JSON.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "nlohmann/json.hpp"

namespace ftd {

// The integer `object` has under that name; `otherwise` when there is none, or none that fits. (A
// conversion by nlohmann's get or value is undefined for a number like 1e80.)
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
