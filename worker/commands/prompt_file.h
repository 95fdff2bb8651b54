// Prompts from JSON files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/tokenizer/tokenizer.h"

namespace ftd {

struct TokenLists {
  std::vector<std::vector<int32_t>> ids;
  bool single = false;  // the file was one list, not a list of them
};

// Reads [1, 2, 3], [[1, 2], [3]], or {"input_ids": either}, which is a Hugging Face tokenizer's
// output. INVALID_ARGUMENT for anything else, or an empty list.
absl::StatusOr<TokenLists> ReadTokenLists(const std::filesystem::path& path);

// Reads the same, or a list of texts, whose ids are with the tokenizer's special tokens.
absl::StatusOr<std::vector<std::vector<int32_t>>> ReadPrompts(const std::filesystem::path& path,
                                                              const Tokenizer& tokenizer);

}  // namespace ftd
