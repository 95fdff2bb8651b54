#include "client/text/json_output.h"

#include <iostream>

#include "absl/strings/str_cat.h"

namespace ftd {
namespace {

using nlohmann::ordered_json;

// Returns the value on one line, which for a scalar is YAML as well. JSON's escapes are valid in a
// double-quoted YAML scalar; so are all JSON scalars.
std::string Scalar(const ordered_json& value) {
  return value.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

bool IsBlock(const ordered_json& value) { return value.is_structured() && !value.empty(); }

// Block style, two blanks a level. Empty lists and objects are written in line, as in JSON.
void AppendYaml(const ordered_json& value, int indent, std::string* out) {
  const std::string blanks(indent, ' ');
  if (!IsBlock(value)) {
    absl::StrAppend(out, blanks, Scalar(value), "\n");
    return;
  }
  for (const auto& [key, item] : value.items()) {
    absl::StrAppend(out, blanks, value.is_array() ? "-" : absl::StrCat(Scalar(key), ":"));
    if (IsBlock(item)) {
      out->push_back('\n');
      AppendYaml(item, indent + 2, out);
    } else {
      absl::StrAppend(out, " ", Scalar(item), "\n");
    }
  }
}

}  // namespace

std::string ToYaml(const ordered_json& value) {
  std::string out;
  AppendYaml(value, 0, &out);
  return out;
}

// Bytes that are not UTF-8 are replaced rather than failing the whole output.
void PrintStructured(const ordered_json& value, const std::string& format) {
  if (format == "yaml") {
    std::cout << ToYaml(value) << std::flush;
  } else if (format == "jsonl") {
    std::cout << Scalar(value) << std::endl;
  } else {
    std::cout << value.dump(2, ' ', false, ordered_json::error_handler_t::replace) << std::endl;
  }
}

}  // namespace ftd
