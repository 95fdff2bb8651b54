// Which class AutoTokenizer of transformers 5 gives a model's folder, and what the class puts in
// the place of sections of tokenizer.json. Source: transformers 5.23,
// models/auto/tokenization_auto.py and models/*/tokenization_*.py, without the optional package
// mistral-common.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace ftd {

// TokenizersBackend takes tokenizer.json as it is. Any other class takes vocabulary, merges and
// post-processor from it and brings the rest itself.
struct TokenizerClass {
  std::string_view name;
  // {"normalizer", "pre_tokenizer", "decoder", "model": options of the BPE}; null keeps those of
  // the file.
  nlohmann::json (*rebuild)(const nlohmann::json& settings) = nullptr;
  // Special tokens that the class names where tokenizer_config.json does not: {"eos_token": "</s>",
  // …}.
  std::string_view special_tokens = "{}";
  // Once all tokens are added, the class adds the special ones again: as plain special tokens, or
  // with their own flags.
  enum class AddsAgain { kNo, kPlain, kWithFlags } adds_again = AddsAgain::kNo;
  // False: the post-processor of the file is passed over; nothing is put around a text.
  bool keeps_post_processor = true;
};

// What the choice depends on.
struct TokenizerClassHints {
  std::string model_type;        // config.json
  std::string config_class;      // config.json's tokenizer_class; "" when absent
  std::string tokenizer_class;   // tokenizer_config.json's; "" when absent
  bool has_remote_code = false;  // tokenizer_config.json's auto_map names a tokenizer
  bool says_byte_level = false;  // "ByteLevel" stands in tokenizer.json
};

// MODEL_UNSUPPORTED names a class that rebuilds a tokenizer in a way that ftd lacks, and code of
// the model's own.
absl::StatusOr<TokenizerClass> ChooseTokenizerClass(const TokenizerClassHints& hints);

}  // namespace ftd
