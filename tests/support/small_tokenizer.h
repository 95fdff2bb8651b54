// A byte-level tokenizer.json small enough to reason about, for tests.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "lib/tokenizer/byte_level.h"
#include "nlohmann/json.hpp"

namespace ftd {

// Bytes are ids 0 to 255, then "he" 256, "ll" 257, "hell" 258, "hello" 259, " w" 260, then the
// added tokens <bos> 261 and <eos> 262. Words come from GPT-2's pattern; <bos> goes in front.
inline nlohmann::json SmallTokenizer() {
  using nlohmann::json;
  json vocab = json::object();
  const auto spell = [](std::string_view bytes) { return BytesToAlphabet(bytes); };
  for (int b = 0; b < 256; ++b) vocab[spell(std::string(1, static_cast<char>(b)))] = b;
  json merges = json::array();
  for (const auto& [left, right] : std::initializer_list<std::pair<const char*, const char*>>{
           {"h", "e"}, {"l", "l"}, {"he", "ll"}, {"hell", "o"}, {" ", "w"}}) {
    merges.push_back(json::array({spell(left), spell(right)}));
  }
  int next = 256;
  for (const char* token : {"he", "ll", "hell", "hello", " w"}) vocab[spell(token)] = next++;
  const auto added = [](int id, const char* content) {
    return json{{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
                {"rstrip", false}, {"normalized", false}, {"special", true}};
  };
  return {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", {added(261, "<bos>"), added(262, "<eos>")}},
      {"normalizer", nullptr},
      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
      {"post_processor",
       {{"type", "TemplateProcessing"},
        {"single",
         {{{"SpecialToken", {{"id", "<bos>"}, {"type_id", 0}}}},
          {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
        {"pair", json::array()},
        {"special_tokens", {{"<bos>", {{"id", "<bos>"}, {"ids", {261}}, {"tokens", {"<bos>"}}}}}}}},
      {"decoder", {{"type", "ByteLevel"}}},
      {"model",
       {{"type", "BPE"},
        {"dropout", nullptr},
        {"unk_token", nullptr},
        {"vocab", vocab},
        {"merges", merges}}}};
}

}  // namespace ftd
