#include "client/text/json_output.h"

#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "client/text/text.h"

namespace ftd {
namespace {

using nlohmann::ordered_json;

// Bytes that are not UTF-8 are replaced rather than failing the whole output.
std::string Dumped(const ordered_json& value, int indent) {
  return ControlsEscaped(value.dump(indent, ' ', false, ordered_json::error_handler_t::replace));
}

// Returns the value on one line, which for a scalar is YAML as well. JSON's escapes are valid in a
// double-quoted YAML scalar; so are all JSON scalars.
std::string Scalar(const ordered_json& value) { return Dumped(value, -1); }

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

void StructuredList::Add(const ordered_json& item) {
  if (format_ == "yaml") {
    std::cout << ToYaml(ordered_json::array({item}));
  } else {
    std::cout << (empty_ ? "[\n  " : ",\n  ")
              << absl::StrReplaceAll(Dumped(item, 2), {{"\n", "\n  "}});
  }
  empty_ = false;
}

void StructuredList::End() {
  if (empty_) {
    std::cout << "[]\n";
  } else if (format_ != "yaml") {
    std::cout << "\n]\n";
  }
  std::cout << std::flush;
}

void PrintStructured(const ordered_json& value, const std::string& format) {
  if (format == "yaml") {
    std::cout << ToYaml(value) << std::flush;
  } else if (format == "jsonl") {
    std::cout << Scalar(value) << std::endl;
  } else {
    std::cout << Dumped(value, 2) << std::endl;
  }
}

}  // namespace ftd
