// JSON and YAML on stdout, for scripts.
#pragma once

#include <string>
#include <utility>

#include "nlohmann/json.hpp"

namespace ftd {

// `value` as a YAML 1.2 document in block style.
std::string ToYaml(const nlohmann::ordered_json& value);

// A list printed on stdout, item by item, as PrintStructured would print the whole.
class StructuredList {
 public:
  // "json" or "yaml".
  explicit StructuredList(std::string format) : format_(std::move(format)) {}
  void Add(const nlohmann::ordered_json& item);
  // Call it once, after the last item.
  void End();

 private:
  const std::string format_;
  bool empty_ = true;
};

// Prints on stdout: "json" indented by two, "jsonl" on one line, "yaml" as ToYaml. Requires:
// `format` is one of them.
void PrintStructured(const nlohmann::ordered_json& value, const std::string& format);

}  // namespace ftd
