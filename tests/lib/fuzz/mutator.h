// Random damage to bytes and to JSON documents, the same for the same seed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <random>
#include <string>

#include "nlohmann/json.hpp"

namespace ftd {

class Mutator {
 public:
  explicit Mutator(uint64_t seed) : random_(seed) {}

  size_t Below(size_t n) { return n == 0 ? 0 : random_() % n; }

  // Bytes: flipped, overwritten, inserted, removed, repeated, cut.
  std::string Bytes(std::string text) {
    for (size_t i = Below(4); i < 4; ++i) {
      const size_t at = Below(text.size() + 1),
                   length = Below(std::min<size_t>(text.size() - at, 40) + 1);
      switch (Below(6)) {
        case 0:
          if (at < text.size()) text[at] ^= static_cast<char>(1 << Below(8));
          break;
        case 1:
          if (at < text.size()) text[at] = static_cast<char>(Below(256));
          break;
        case 2:
          text.insert(at, Token());
          break;
        case 3:
          text.erase(at, length);
          break;
        case 4:
          text.insert(Below(text.size() + 1), text.substr(at, length));
          break;
        default:
          if (Below(8) == 0) text.resize(at);
          break;
      }
    }
    return text;
  }

  // JSON: some value within the document replaced by another, or dropped.
  std::string Json(const nlohmann::json& document) {
    nlohmann::json mutated = document;
    for (size_t i = Below(3); i < 3; ++i) Replace(&mutated, 0);
    return mutated.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }

 private:
  void Replace(nlohmann::json* value, int depth) {
    if (value->is_structured() && !value->empty() && (depth == 0 || Below(4) != 0)) {
      auto child = value->begin();
      std::advance(child, Below(value->size()));
      if (Below(12) == 0) {
        value->erase(child);
        return;
      }
      return Replace(&*child, depth + 1);
    }
    *value = Scalar();
  }
  nlohmann::json Scalar() {
    using nlohmann::json;
    const json values[] = {nullptr,
                           true,
                           0,
                           -1,
                           1.5,
                           1e300,
                           18446744073709551615u,
                           "",
                           "x",
                           "[",
                           "(?",
                           R"(\p{)",
                           "a{9,}",
                           "▁",
                           " ",
                           json::array(),
                           json::object(),
                           json::array({0, 8}),
                           {{"type", "Sequence"}},
                           {{"Regex", "(a|b)*c+"}},
                           {{"type", "Replace"}, {"pattern", {{"Regex", "a*"}}}, {"content", "b"}}};
    return values[Below(std::size(values))];
  }
  std::string Token() {
    const char* tokens[] = {"{",         "}",         "[",    "]",        R"(")",
                            ",",         ":",         "null", "-1",       "1e999",
                            R"(\u0000)", R"(\ud800)", "\xff", "\xe2\x82", "\n"};
    return tokens[Below(std::size(tokens))];
  }

  std::mt19937_64 random_;
};

}  // namespace ftd
