// The tokens of a model by id, as llama.cpp wants them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/gguf/pre_tokenizers.h"
#include "lib/tokenizer/auto/auto_tokenizer.h"
#include "lib/tokenizer/tokenizer.h"

namespace ftd::gguf {

// An added token, wherever the folder names it.
struct NamedToken {
  std::string text;
  bool special = false;
  bool takes_space_before = false;  // "lstrip"
  bool takes_space_after = false;   // "rstrip"
};

std::vector<NamedToken> AddedTokensOf(const AutoTokenizer& parts);

struct TokenList {
  std::vector<std::string> texts;
  std::vector<int32_t> types;       // llama.cpp's llama_token_type
  std::vector<float> scores;        // SentencePiece only: a pair of a higher score is joined first
  std::vector<std::string> merges;  // else: "left right", the first first
};

// Both describe one folder. MODEL_UNSUPPORTED when there are more tokens than `size`, two of one
// spelling, or, for SentencePiece, no tokens of single bytes.
absl::StatusOr<TokenList> MakeTokenList(const AutoTokenizer& parts, const Tokenizer& tokenizer,
                                        const TokenizerKind& kind, int64_t size);

}  // namespace ftd::gguf
