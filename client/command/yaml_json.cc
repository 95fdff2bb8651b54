#include "client/command/yaml_json.h"

#include <string>

namespace ftd {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kDeepest = 32;
constexpr int kMostValues = 10'000;

Json ScalarJson(const YAML::Node& node) {
  const std::string& text = node.Scalar();
  if (node.Tag() == "!") return text;  // quoted
  const Json read = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  return read.is_number() || read.is_boolean() ? read : Json(text);
}

// Aliases make loops, too.
Json Walk(const YAML::Node& node, int depth, int* values) {
  if (depth > kDeepest) throw YAML::Exception(node.Mark(), "nested too deep");
  if (++*values > kMostValues) throw YAML::Exception(node.Mark(), "too many values");
  if (node.IsScalar()) return ScalarJson(node);
  if (node.IsSequence()) {
    Json list = Json::array();
    for (const YAML::Node& item : node) list.push_back(Walk(item, depth + 1, values));
    return list;
  }
  if (!node.IsMap()) return nullptr;
  Json object = Json::object();
  for (const auto& entry : node) {
    if (!entry.first.IsScalar()) throw YAML::Exception(entry.first.Mark(), "a key must be a text");
    object[entry.first.Scalar()] = Walk(entry.second, depth + 1, values);
  }
  return object;
}

}  // namespace

nlohmann::ordered_json JsonOf(const YAML::Node& node) {
  int values = 0;
  return Walk(node, 0, &values);
}

}  // namespace ftd
