// Fields of a spec's JSON, with what is wrong with them.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/json.h"

namespace ftd {

// Reads fields of one JSON object and collects what is wrong with them, so that one answer names
// all.
class FieldReader {
 public:
  FieldReader(const nlohmann::json& object, std::string prefix,
              std::vector<FieldViolation>* violations)
      : object_(object), prefix_(std::move(prefix)), violations_(violations) {}

  bool Has(const char* name) const { return FindField(object_, name) != nullptr; }

  // Requires: Has(name).
  const nlohmann::json& At(const char* name) const { return object_.at(name); }

  void Violate(const char* name, std::string description) {
    violations_->push_back({prefix_ + name, std::move(description)});
  }

  // An integer within [low, high]; absent keeps *value.
  template <typename Int>
  void Integer(const char* name, int64_t low, int64_t high, Int* value) {
    if (!Has(name)) return;
    const nlohmann::json& json = object_.at(name);
    int64_t number = 0;
    bool ok = json.is_number_integer() ||
              (json.is_string() && absl::SimpleAtoi(json.get<std::string>(), &number));
    if (ok && json.is_number_integer()) number = json.get<int64_t>();
    if (json.is_number_unsigned()) ok = json.get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX);
    if (!ok || number < low || number > high) {
      return Violate(
          name, absl::StrCat("must be an integer from ", low, " to ", high, "; got ", json.dump()));
    }
    *value = static_cast<Int>(number);
  }

  // A finite number that `accepts`; `range` describes the accepted ones.
  void Number(const char* name, const char* range, const std::function<bool(double)>& accepts,
              double* value) {
    if (!Has(name)) return;
    const nlohmann::json& json = object_.at(name);
    double number = json.is_number() ? json.get<double>() : std::nan("");
    if (!std::isfinite(number) || !accepts(number)) {
      return Violate(name, absl::StrCat("must be a number ", range, "; got ", json.dump()));
    }
    *value = number;
  }

  void Bool(const char* name, bool* value) {
    if (!Has(name)) return;
    if (!object_.at(name).is_boolean()) return Violate(name, "must be true or false");
    *value = object_.at(name).get<bool>();
  }

  void String(const char* name, std::string* value) {
    if (!Has(name)) return;
    if (!object_.at(name).is_string()) return Violate(name, "must be a string");
    *value = object_.at(name).get<std::string>();
  }

 private:
  const nlohmann::json& object_;
  std::string prefix_;
  std::vector<FieldViolation>* violations_;
};

}  // namespace ftd
