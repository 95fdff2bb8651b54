#include "lib/model/config_json.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/json.h"

namespace ftd {

using Json = nlohmann::json;

absl::Status ConfigCorrupt(const std::string& message) {
  return Error(Reason::kModelCorrupt, "config.json: " + message);
}

absl::Status ConfigUnsupported(const std::string& message) {
  return Error(Reason::kModelUnsupported, "config.json: " + message);
}

std::string ShownValue(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

absl::Status ReadSize(const Json& json, const char* name, int64_t fallback, int64_t* value,
                      int64_t most) {
  const Json* field = FindField(json, name);
  if (field == nullptr) {
    if (fallback == 0) return ConfigCorrupt(absl::StrCat(name, " is missing"));
    *value = fallback;
    return absl::OkStatus();
  }
  const int64_t size = field->is_number_integer() ? IntegerOr(json, name, 0) : 0;
  if (size < 1) {
    return ConfigCorrupt(
        absl::StrCat(name, " is ", field->dump(), "; it must be a positive integer"));
  }
  if (size > most)
    return ConfigCorrupt(absl::StrCat(name, " is ", size, "; it must be at most ", most));
  *value = size;
  return absl::OkStatus();
}

absl::Status ReadPositive(const Json& json, const char* name, double* value) {
  const Json* field = FindField(json, name);
  if (field == nullptr) return absl::OkStatus();
  if (!field->is_number() || !std::isfinite(field->get<double>()) || field->get<double>() <= 0) {
    return ConfigCorrupt(
        absl::StrCat(name, " is ", field->dump(), "; it must be a positive number"));
  }
  *value = field->get<double>();
  return absl::OkStatus();
}

absl::Status ReadPositiveOrNone(const Json& json, const char* name, double* value) {
  if (json.contains(name) && json.at(name).is_null()) *value = 0;
  return ReadPositive(json, name, value);
}

absl::Status ReadFlag(const Json& json, const char* name, bool* value) {
  const Json* field = FindField(json, name);
  if (field == nullptr) return absl::OkStatus();
  if (!field->is_boolean())
    return ConfigCorrupt(absl::StrCat(name, " is ", field->dump(), "; it must be true or false"));
  *value = field->get<bool>();
  return absl::OkStatus();
}

}  // namespace ftd
