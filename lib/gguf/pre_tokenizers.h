// llama.cpp's names of the ways in which a text is cut into words: found from what tokenizer.json
// says, because the same model family comes with many of them.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace ftd::gguf {

// How llama.cpp must tokenise.
struct TokenizerKind {
  // Spaces are ▁ and the pair of the highest score is joined; else GPT-2's letters for bytes, and
  // merges.
  bool sentencepiece = false;
  std::string_view pre;            // tokenizer.ggml.pre
  bool puts_space_before = false;  // SentencePiece's: before the first word of a text
  bool only_at_start = false;      // not after special tokens, nor before a text's own space
};

// Requires: a tokenizer.json that Tokenizer::Load accepts, without vocabulary and merges.
// MODEL_UNSUPPORTED, with the pre-tokenizer or normalizer itself, when llama.cpp does not have it.
absl::StatusOr<TokenizerKind> FindTokenizerKind(const nlohmann::json& document);

}  // namespace ftd::gguf
