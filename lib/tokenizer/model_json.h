// tokenizer.json, read in one pass: the vocabulary and the merges flat, the rest as a small
// document.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace ftd {

// A model section of hundreds of thousands of short strings, kept in one buffer.
struct ModelJson {
  struct Text {
    uint32_t offset = 0;
    uint32_t size = 0;
  };
  struct Token {
    Text text;
    int32_t id = 0;
  };
  struct MergePair {
    Text left, right;
  };

  std::string_view view(Text text) const {
    return std::string_view(bytes).substr(text.offset, text.size);
  }

  std::string bytes;
  std::vector<Token> vocab;
  std::vector<MergePair> merges;
  bool has_vocab = false;
  bool has_merges = false;
  nlohmann::json rest;  // the whole document, without model.vocab and model.merges
};

// The largest id that a vocabulary may have: far above any model's, and small enough to index
// arrays by.
inline constexpr int32_t kMaxTokenId = (1 << 24) - 1;

// MODEL_CORRUPT, with the place, when `text` is not JSON, or vocabulary or merges are not of their
// shape.
absl::StatusOr<ModelJson> ParseModelJson(std::string_view text);

}  // namespace ftd
