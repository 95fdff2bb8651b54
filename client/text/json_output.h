// JSON and YAML on stdout, for scripts.
#pragma once

#include <string>

#include "nlohmann/json.hpp"

namespace ftd {

// `value` as a YAML 1.2 document in block style.
std::string ToYaml(const nlohmann::ordered_json& value);

// Prints on stdout: "json" indented by two, "jsonl" on one line, "yaml" as ToYaml. Requires:
// `format` is one of them.
void PrintStructured(const nlohmann::ordered_json& value, const std::string& format);

}  // namespace ftd
