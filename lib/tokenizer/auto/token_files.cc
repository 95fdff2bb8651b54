#include "lib/tokenizer/auto/token_files.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "lib/base/concat.h"
#include "lib/base/contained_file.h"
#include "lib/base/error.h"
#include "lib/base/json.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;
using TokenMap = absl::flat_hash_map<std::string, AddedToken>;  // by content

constexpr std::string_view kPadToken = "pad_token";
constexpr const char* kConfigFile = "tokenizer_config.json";
constexpr const char* kMapFile = "special_tokens_map.json";
constexpr const char* kAddedFile = "added_tokens.json";
// The special tokens that every tokenizer may have, in the order in which they are added.
constexpr const char* kNamed[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                  "pad_token", "cls_token", "mask_token"};

bool IsNamed(std::string_view key) {
  return std::find(std::begin(kNamed), std::end(kNamed), key) != std::end(kNamed);
}

absl::Status Corrupt(const fs::path& path, std::string_view problem) {
  return Error(Reason::kModelCorrupt,
               Concat(path.string(), ": ", problem, "; fetch the model again"));
}

bool SameToken(const AddedToken& a, const AddedToken& b) {
  return a.content == b.content && a.single_word == b.single_word && a.lstrip == b.lstrip &&
         a.rstrip == b.rstrip && a.normalized == b.normalized && a.special == b.special;
}

AddedToken SpecialToken(std::string content) {
  AddedToken token;
  token.content = std::move(content);
  token.special = true;
  return token;
}

// {"content": …, flags}, as AddedToken(**value) of `tokenizers` reads it: only a special token is
// by default not normalised.
std::optional<AddedToken> TokenOf(const ordered_json& value) {
  const ordered_json* content = FindField(value, "content");
  if (content == nullptr || !content->is_string()) return std::nullopt;
  AddedToken token;
  token.content = content->get<std::string>();
  const auto flag = [&](const char* name, bool otherwise) {
    const ordered_json* field = FindField(value, name);
    return field != nullptr && field->is_boolean() ? field->get<bool>() : otherwise;
  };
  token.special = flag("special", false);
  token.single_word = flag("single_word", false);
  token.lstrip = flag("lstrip", false);
  token.rstrip = flag("rstrip", false);
  token.normalized = flag("normalized", !token.special);
  return token;
}

// The tokens that tokenizer.json adds by itself; for one that is there twice the last entry holds.
TokenMap PresentTokens(const json& document) {
  TokenMap present;
  const json* added = FindField(document, "added_tokens");
  if (added == nullptr || !added->is_array()) return present;
  for (const json& entry : *added) {
    std::optional<AddedToken> token = TokenOf(ordered_json(entry));
    if (token) present[token->content] = *token;  // Tokenizer::Load refuses what is none
  }
  return present;
}

}  // namespace

absl::StatusOr<ordered_json> ReadObject(const fs::path& dir, const char* file) {
  const fs::path path = dir / file;
  absl::StatusOr<std::string> text = ReadContained(dir, file);
  if (absl::IsNotFound(text.status())) return ordered_json::object();
  FTD_RETURN_IF_ERROR(text.status());
  auto object = ParseJsonObject<ordered_json>(*text);
  if (!object) return Corrupt(path, "not a JSON object");
  return std::move(*object);
}

bool IsTruthy(const ordered_json* value) {
  if (value == nullptr) return false;
  if (value->is_boolean()) return value->get<bool>();
  if (value->is_number()) return value->get<double>() != 0;
  return value->is_string() ? !value->get<std::string>().empty() : !value->empty();
}

std::optional<TokenFiles::Spelled> TokenFiles::SpelledBy(const ordered_json& value) {
  if (value.is_string()) return Spelled{SpecialToken(value.get<std::string>()), false};
  std::optional<AddedToken> token = TokenOf(value);
  if (!token) return std::nullopt;
  return Spelled{*std::move(token), true};
}

absl::StatusOr<TokenFiles> TokenFiles::Read(const fs::path& dir, const ModelJson& tokenizer) {
  TokenFiles files;
  files.dir_ = dir;
  FTD_ASSIGN_OR_RETURN(files.settings_, ReadObject(dir, kConfigFile));
  ordered_json& settings = files.settings_;
  // The older name of the same list.
  if (settings.contains("additional_special_tokens") &&
      !IsTruthy(FindField(settings, "extra_special_tokens"))) {
    settings["extra_special_tokens"] = settings["additional_special_tokens"];
    settings.erase("additional_special_tokens");
  }
  for (auto it = settings.begin(); it != settings.end();) {
    const bool specific = !IsNamed(it.key()) && absl::EndsWith(it.key(), "_token");
    if (specific && it->is_string()) files.specific_.emplace_back(it.key(), *SpelledBy(*it));
    // To transformers an object is a token here only when it says so.
    const ordered_json* type = FindField(*it, "__type");
    const bool is_no_token = it->is_object() && (type == nullptr || *type != "AddedToken");
    it = specific && (it->is_string() || is_no_token) ? settings.erase(it) : std::next(it);
  }
  if (settings.contains("added_tokens_decoder")) {
    FTD_RETURN_IF_ERROR(files.ReadDecoder(settings["added_tokens_decoder"]));
  } else {
    FTD_RETURN_IF_ERROR(files.ReadLegacy(tokenizer));
  }
  FTD_RETURN_IF_ERROR(files.ReadExtra());
  return files;
}

// {"128009": {"content": "<|eot_id|>", flags}, …}
absl::Status TokenFiles::ReadDecoder(const ordered_json& decoder) {
  if (!decoder.is_object())
    return Corrupt(Path(kConfigFile), R"("added_tokens_decoder" must be an object)");
  for (const auto& [key, value] : decoder.items()) {
    int64_t id = 0;
    const std::optional<AddedToken> token = TokenOf(value);
    if (!absl::SimpleAtoi(key, &id) || !token) {
      return Corrupt(Path(kConfigFile),
                     Concat(R"("added_tokens_decoder" has the bad entry ")", key, "\""));
    }
    decoder_[id] = *token;
  }
  return absl::OkStatus();
}

// Folders of before transformers 4.34 have no added_tokens_decoder; two more files stand in for it.
absl::Status TokenFiles::ReadLegacy(const ModelJson& tokenizer) {
  FTD_RETURN_IF_ERROR(ReadSpecialTokensMap());
  FTD_RETURN_IF_ERROR(ReadAddedTokens());
  const json* added = FindField(tokenizer.rest, "added_tokens");
  if (added == nullptr) return absl::OkStatus();
  for (const json& entry : *added) {
    const std::optional<AddedToken> token = TokenOf(entry);
    if (!token) return Corrupt(Path("tokenizer.json"), "an added token lacks its \"content\"");
    decoder_[IntegerOr(entry, "id", 0)] = *token;
  }
  return absl::OkStatus();
}

absl::Status TokenFiles::ReadSpecialTokensMap() {
  FTD_ASSIGN_OR_RETURN(const ordered_json map, ReadObject(dir_, kMapFile));
  for (const auto& [key, value] : map.items()) {
    if (key == "extra_special_tokens" && value.is_array()) {
      ordered_json& all = settings_[key];
      if (!all.is_array()) all = ordered_json::array();
      for (const ordered_json& token : value)
        if (std::find(all.begin(), all.end(), token) == all.end()) all.push_back(token);
      continue;
    }
    settings_[key] = value;
    // Whatever stands here is special.
    if (value.is_object() && value.contains("content")) settings_[key]["special"] = true;
  }
  return absl::OkStatus();
}

// {"<|im_end|>": 32000, …}
absl::Status TokenFiles::ReadAddedTokens() {
  FTD_ASSIGN_OR_RETURN(const ordered_json ids, ReadObject(dir_, kAddedFile));
  std::vector<std::string> special;
  // transformers looks before it has read tokenizer_config.json's tokens with flags.
  const auto note = [&](const ordered_json& value) {
    if (value.contains("__type")) return;
    if (const auto spelled = SpelledBy(value)) special.push_back(spelled->token.content);
  };
  for (const char* name : kNamed)
    if (const ordered_json* value = FindField(settings_, name)) note(*value);
  if (const ordered_json* extra = FindField(settings_, "extra_special_tokens");
      extra != nullptr && extra->is_array())
    for (const ordered_json& value : *extra) note(value);
  for (const auto& [content, id] : ids.items()) {
    if (!id.is_number_integer())
      return Corrupt(Path(kAddedFile), Concat("\"", content, "\" must have an id"));
    AddedToken token;
    token.content = content;
    token.special = std::find(special.begin(), special.end(), content) != special.end();
    token.normalized = !token.special;
    decoder_[id.get<int64_t>()] = token;
  }
  return absl::OkStatus();
}

// A list, or {"image_token": "<image>", …}; beside the latter a list may be under the older name.
absl::Status TokenFiles::ReadExtra() {
  FTD_RETURN_IF_ERROR(ReadExtra("extra_special_tokens"));
  const bool is_list =
      settings_.contains("extra_special_tokens") && !settings_["extra_special_tokens"].is_object();
  return is_list ? absl::OkStatus() : ReadExtra("additional_special_tokens");
}

absl::Status TokenFiles::ReadExtra(const char* key) {
  const ordered_json* extra = FindField(settings_, key);
  if (extra == nullptr) return absl::OkStatus();
  absl::Status bad = Corrupt(Path(kConfigFile), Concat("\"", key, "\" must hold tokens"));
  if (!extra->is_array() && !extra->is_object()) return bad;
  for (const auto& [name, value] : extra->items()) {
    std::optional<Spelled> token = SpelledBy(value);
    if (!token) return bad;
    if (extra->is_array()) {
      extra_.push_back(*std::move(token));
    } else {
      specific_.emplace_back(name, *std::move(token));
    }
  }
  return absl::OkStatus();
}

// One that is also an added token has that one's flags.
absl::StatusOr<TokenFiles::Spelled> TokenFiles::NamedToken(const char* name,
                                                           const ordered_json& value) const {
  std::optional<Spelled> token = SpelledBy(value);
  if (!token) {
    return Corrupt(Path(kConfigFile),
                   Concat(name, R"( must be a token: a string, or an object with "content")"));
  }
  for (const auto& [id, added] : decoder_)
    if (added.content == token->token.content) token = Spelled{added, true};
  return *std::move(token);
}

void TokenFiles::Name(const std::string& name, Spelled token) {
  const auto same = std::find_if(names_.begin(), names_.end(),
                                 [&](const auto& entry) { return entry.first == name; });
  if (same == names_.end()) {
    names_.emplace_back(name, std::move(token));
  } else {
    same->second = std::move(token);
  }
}

// A name that a file sets to null has no token, whatever the class says.
absl::Status TokenFiles::NameTokens(const TokenizerClass& tokenizer_class, const json& padding) {
  const json defaults = json::parse(tokenizer_class.special_tokens);
  for (const char* name : kNamed) {
    if (const ordered_json* value = FindField(settings_, name)) {
      FTD_ASSIGN_OR_RETURN(Spelled token, NamedToken(name, *value));
      Name(name, std::move(token));
    }
    if (settings_.contains(name)) continue;
    const json* otherwise = FindField(defaults, name);
    if (otherwise == nullptr && name == kPadToken) otherwise = FindField(padding, name);
    if (otherwise != nullptr && otherwise->is_string())
      Name(name, Spelled{SpecialToken(otherwise->get<std::string>())});
  }
  for (const auto& [name, value] : settings_.items()) {
    if (IsNamed(name) || !absl::EndsWith(name, "_token")) continue;
    if (auto token = SpelledBy(value)) Name(name, *std::move(token));
  }
  for (const auto& [name, token] : specific_) Name(name, token);
  // The model's own may be under a name that every tokenizer has; then its place is among those.
  std::stable_sort(names_.begin(), names_.end(), [](const auto& a, const auto& b) {
    return std::find(std::begin(kNamed), std::end(kNamed), a.first) <
           std::find(std::begin(kNamed), std::end(kNamed), b.first);
  });
  return absl::OkStatus();
}

std::vector<std::pair<std::string, std::string>> TokenFiles::special_tokens() const {
  std::vector<std::pair<std::string, std::string>> tokens;
  for (const auto& [name, spelled] : names_) tokens.emplace_back(name, spelled.token.content);
  return tokens;
}

// In order: the added tokens that the tokenizer lacks or has with other flags, then the special
// ones that are not among them.
std::vector<AddedToken> TokenFiles::TokensToAdd(const json& document,
                                                const TokenizerClass& tokenizer_class) const {
  const TokenMap present = PresentTokens(document);
  std::vector<AddedToken> adding;
  absl::flat_hash_set<std::string> known, named;
  for (const auto& [content, token] : present) known.insert(content);
  for (const auto& [id, token] : decoder_) {
    const auto same = present.find(token.content);
    if (same == present.end() || !SameToken(same->second, token)) adding.push_back(token);
    known.insert(token.content);
  }
  std::vector<Spelled> special;
  for (const auto& [name, spelled] : names_) {
    named.insert(spelled.token.content);
    special.push_back(spelled);
  }
  special.insert(special.end(), extra_.begin(), extra_.end());
  // A spelling that comes again changes nothing, not even what another spelling in between has
  // changed.
  std::vector<Spelled> unknown;
  for (const Spelled& spelled : special) {
    const bool again = std::any_of(unknown.begin(), unknown.end(), [&](const Spelled& other) {
      return other.has_flags == spelled.has_flags && SameToken(other.token, spelled.token);
    });
    if (!again && !known.contains(spelled.token.content)) unknown.push_back(spelled);
  }
  for (const Spelled& spelled : unknown) adding.push_back(spelled.token);
  for (AddedToken& token : adding) token.special |= named.contains(token.content);
  if (tokenizer_class.adds_again == TokenizerClass::AddsAgain::kNo) return adding;
  for (const Spelled& spelled : special) {
    AddedToken token = spelled.token;
    token.special = true;
    const bool plain = tokenizer_class.adds_again == TokenizerClass::AddsAgain::kPlain;
    adding.push_back(plain ? SpecialToken(token.content) : token);
  }
  return adding;
}

}  // namespace ftd
