// What the small files of a model's folder say about tokens: tokenizer_config.json, and in folders
// of before transformers 4.34 special_tokens_map.json and added_tokens.json.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/tokenizer/added_tokens.h"
#include "lib/tokenizer/auto/tokenizer_class.h"
#include "lib/tokenizer/model_json.h"
#include "nlohmann/json.hpp"

namespace ftd {

// The object that a file of the folder holds; empty when the file is absent. MODEL_CORRUPT.
absl::StatusOr<nlohmann::ordered_json> ReadObject(const std::filesystem::path& dir,
                                                  const char* file);

// True when Python takes the value for true; nullptr is false.
bool IsTruthy(const nlohmann::ordered_json* value);

class TokenFiles {
 public:
  // MODEL_CORRUPT when a file is damaged.
  static absl::StatusOr<TokenFiles> Read(const std::filesystem::path& model_dir,
                                         const ModelJson& tokenizer);

  // tokenizer_config.json, with what special_tokens_map.json puts over it.
  const nlohmann::ordered_json& settings() const { return settings_; }
  // Gives the special tokens their names: those of the files, where they are silent the class's
  // own, and the token that the "padding" of tokenizer.json names.
  absl::Status NameTokens(const TokenizerClass& tokenizer_class, const nlohmann::json& padding);
  // Require NameTokens. What the class adds to the added tokens that `document`, tokenizer.json as
  // the class leaves it, has itself: in order.
  std::vector<AddedToken> TokensToAdd(const nlohmann::json& document,
                                      const TokenizerClass& tokenizer_class) const;
  // The special tokens that have a name, by it: "eos_token", …; no name is there twice.
  std::vector<std::pair<std::string, std::string>> special_tokens() const;

 private:
  // A token as one of the files spells it: its text alone, or with its flags.
  struct Spelled {
    AddedToken token;
    bool has_flags = false;
  };
  static std::optional<Spelled> SpelledBy(const nlohmann::ordered_json& value);

  absl::Status ReadDecoder(const nlohmann::ordered_json& decoder);
  absl::Status ReadLegacy(const ModelJson& tokenizer);
  absl::Status ReadSpecialTokensMap();
  absl::Status ReadAddedTokens();
  absl::Status ReadExtra();
  absl::Status ReadExtra(const char* key);
  absl::StatusOr<Spelled> NamedToken(const char* name, const nlohmann::ordered_json& value) const;
  void Name(const std::string& name, Spelled token);
  std::filesystem::path Path(const char* file) const { return dir_ / file; }

  std::filesystem::path dir_;
  nlohmann::ordered_json settings_;
  std::map<int64_t, AddedToken> decoder_;  // by the id that a file gives, which only orders them
  // By name, in the order in which they are added: those that every tokenizer may have, then the
  // model's own.
  std::vector<std::pair<std::string, Spelled>> names_;
  std::vector<std::pair<std::string, Spelled>> specific_;  // {"image_token", …}
  std::vector<Spelled> extra_;
};

}  // namespace ftd
