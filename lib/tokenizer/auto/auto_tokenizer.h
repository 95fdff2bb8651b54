// A model's folder as AutoTokenizer of transformers 5 reads it: tokenizer.json, and what
// tokenizer_config.json and the older special_tokens_map.json and added_tokens.json change in it.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/tokenizer/added_tokens.h"
#include "lib/tokenizer/model_json.h"

namespace ftd {

struct AutoTokenizer {
  ModelJson json;  // tokenizer.json; where the class brings sections of its own, with those
  std::vector<AddedToken> added;  // to be added after those of `json`, in this order
  // {"eos_token", "</s>"}, …: special_tokens_map of transformers.
  std::vector<std::pair<std::string, std::string>> special_tokens;
  std::string eos_token;    // of special_tokens; "" when the folder names none
  std::string fingerprint;  // SHA-256, in hex, of all that the ids of a text depend on
};

// MODEL_NOT_FOUND without a tokenizer.json; MODEL_CORRUPT when a file is damaged; MODEL_UNSUPPORTED
// names what transformers does with the folder and ftd does not. Messages begin with the file's
// path.
absl::StatusOr<AutoTokenizer> ReadAutoTokenizer(const std::filesystem::path& model_dir);

}  // namespace ftd
