// Typed access to the fields of tokenizer.json's components, and the two errors that reading them
// can give.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace ftd {

// FAILED_PRECONDITION MODEL_CORRUPT / MODEL_UNSUPPORTED; the message begins with "tokenizer.json:
// ".
absl::Status CorruptTokenizer(std::string_view message);
absl::Status UnsupportedTokenizer(std::string_view message);

// `object`[`name`], or MODEL_CORRUPT naming `what` ("pre_tokenizer Split") when it is absent or of
// another type.
absl::StatusOr<std::string> StringField(const nlohmann::json& object, const char* name,
                                        std::string_view what);
absl::StatusOr<bool> BoolField(const nlohmann::json& object, const char* name,
                               std::string_view what);
// Absent or null gives `fallback`.
absl::StatusOr<bool> BoolFieldOr(const nlohmann::json& object, const char* name, bool fallback,
                                 std::string_view what);
absl::StatusOr<std::string> StringFieldOr(const nlohmann::json& object, const char* name,
                                          std::string_view fallback, std::string_view what);
absl::StatusOr<const nlohmann::json*> ArrayField(const nlohmann::json& object, const char* name,
                                                 std::string_view what);

// The "type" of a component.
absl::StatusOr<std::string> TypeOf(const nlohmann::json& component, std::string_view what);

// A "pattern": {"String": …} or {"Regex": …}.
struct PatternField {
  std::string text;
  bool is_regex = false;
};
absl::StatusOr<PatternField> PatternOf(const nlohmann::json& component, std::string_view what);

}  // namespace ftd
