// Fields of config.json, with the errors that name them.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace ftd {

// FAILED_PRECONDITION MODEL_CORRUPT: a field is missing or absurd.
absl::Status ConfigCorrupt(const std::string& message);

// FAILED_PRECONDITION MODEL_UNSUPPORTED: the engine lacks what a field asks for.
absl::Status ConfigUnsupported(const std::string& message);

// Returns a value for a message: a string's text, or JSON.
std::string ShownValue(const nlohmann::json& value);

// Reads an integer from 1 to `most`; `fallback` when absent or null; 0 means required. The default
// bound keeps the product of two sizes within 64 bits.
absl::Status ReadSize(const nlohmann::json& json, const char* name, int64_t fallback,
                      int64_t* value, int64_t most = int64_t{1} << 31);

// Reads a positive number; the value stays what it was when the field is absent or null.
absl::Status ReadPositive(const nlohmann::json& json, const char* name, double* value);

// The same for a field for which null means none: the value becomes 0 when the field is null.
absl::Status ReadPositiveOrNone(const nlohmann::json& json, const char* name, double* value);

// Reads true or false; the value stays what it was when the field is absent or null.
absl::Status ReadFlag(const nlohmann::json& json, const char* name, bool* value);

}  // namespace ftd
