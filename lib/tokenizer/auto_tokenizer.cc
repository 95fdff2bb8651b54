#include "lib/tokenizer/auto_tokenizer.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "lib/base/concat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/base/sha256.h"
#include "lib/tokenizer/tokenizer_class.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

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

absl::Status Unsupported(const fs::path& path, std::string_view problem) {
  return Error(Reason::kModelUnsupported, Concat(path.string(), ": ", problem));
}

// The object that a file of the folder holds; empty when there is no such file.
absl::StatusOr<ordered_json> ReadObject(const fs::path& path) {
  absl::StatusOr<std::string> text = ReadFile(path);
  if (absl::IsNotFound(text.status())) return ordered_json::object();
  FTD_RETURN_IF_ERROR(text.status());
  auto object = ParseJsonObject<ordered_json>(*text);
  if (!object) return Corrupt(path, "not a JSON object");
  return std::move(*object);
}

// True when Python takes the value for true.
bool IsTruthy(const ordered_json* value) {
  if (value == nullptr) return false;
  if (value->is_boolean()) return value->get<bool>();
  if (value->is_number()) return value->get<double>() != 0;
  return value->is_string() ? !value->get<std::string>().empty() : !value->empty();
}

// A token as one of the files spells it: its text alone, or with its flags.
struct Spelled {
  AddedToken token;
  bool has_flags = false;
};

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
std::optional<AddedToken> TokenOf(const ordered_json& value, bool special) {
  const ordered_json* content = FindField(value, "content");
  if (content == nullptr || !content->is_string()) return std::nullopt;
  AddedToken token;
  token.content = content->get<std::string>();
  const auto flag = [&](const char* name, bool otherwise) {
    const ordered_json* field = FindField(value, name);
    return field != nullptr && field->is_boolean() ? field->get<bool>() : otherwise;
  };
  token.special = special || flag("special", false);
  token.single_word = flag("single_word", false);
  token.lstrip = flag("lstrip", false);
  token.rstrip = flag("rstrip", false);
  token.normalized = flag("normalized", !token.special);
  return token;
}

std::optional<Spelled> SpelledBy(const ordered_json& value, bool special = false) {
  if (value.is_string()) return Spelled{SpecialToken(value.get<std::string>()), false};
  std::optional<AddedToken> token = TokenOf(value, special);
  if (!token) return std::nullopt;
  return Spelled{*std::move(token), true};
}

using TokenMap = absl::flat_hash_map<std::string, AddedToken>;  // by content

// Special tokens under their names, in the order in which they came up.
class TokenNames {
 public:
  Spelled* Find(std::string_view name) {
    const auto found = std::find_if(entries_.begin(), entries_.end(),
                                    [&](const auto& entry) { return entry.first == name; });
    return found == entries_.end() || !found->second ? nullptr : &*found->second;
  }
  bool Has(std::string_view name) const {
    return std::any_of(entries_.begin(), entries_.end(),
                       [&](const auto& entry) { return entry.first == name; });
  }
  // nullopt: the name is there, without a token.
  void Set(std::string_view name, std::optional<Spelled> token) {
    for (auto& entry : entries_) {
      if (entry.first == name) {
        entry.second = std::move(token);
        return;
      }
    }
    entries_.emplace_back(name, std::move(token));
  }
  template <typename Visit>
  void ForEach(Visit visit) const {
    for (const auto& [name, token] : entries_)
      if (token) visit(*token);
  }

 private:
  std::vector<std::pair<std::string, std::optional<Spelled>>> entries_;
};

// All that the folder's small files say about tokens.
class TokenFiles {
 public:
  static absl::StatusOr<TokenFiles> Read(const fs::path& dir, const ModelJson& tokenizer);

  // tokenizer_config.json, with what special_tokens_map.json puts over it.
  const ordered_json& settings() const { return settings_; }
  // The tokens to add to those that the tokenizer has, as its class does it, in order.
  std::vector<AddedToken> TokensToAdd(const TokenMap& present,
                                      const TokenizerClass& tokenizer_class) const;
  void NameMissing(const TokenizerClass& tokenizer_class, const json& padding);
  std::string eos_token() {
    const Spelled* eos = names_.Find("eos_token");
    return eos == nullptr ? std::string() : eos->token.content;
  }

 private:
  absl::Status ReadDecoder(const ordered_json& decoder);
  absl::Status ReadLegacy(const ModelJson& tokenizer);
  absl::Status ReadSpecialTokensMap();
  absl::Status ReadAddedTokens();
  absl::Status NameTokens();
  absl::Status ReadExtra();
  std::string Path(const char* file) const { return (dir_ / file).string(); }

  fs::path dir_;
  ordered_json settings_;
  std::map<int64_t, AddedToken> decoder_;  // by the id that a file gives, which only orders them
  TokenNames names_;
  std::vector<std::pair<std::string, Spelled>> specific_;  // of this model: {"image_token", …}
  std::vector<Spelled> extra_;
};

absl::StatusOr<TokenFiles> TokenFiles::Read(const fs::path& dir, const ModelJson& tokenizer) {
  TokenFiles files;
  files.dir_ = dir;
  FTD_ASSIGN_OR_RETURN(files.settings_, ReadObject(dir / kConfigFile));
  ordered_json& settings = files.settings_;
  // The older name of the same list.
  if (settings.contains("additional_special_tokens") &&
      !IsTruthy(FindField(settings, "extra_special_tokens"))) {
    settings["extra_special_tokens"] = settings["additional_special_tokens"];
    settings.erase("additional_special_tokens");
  }
  for (auto it = settings.begin(); it != settings.end();) {
    if (!IsNamed(it.key()) && absl::EndsWith(it.key(), "_token") && it->is_string()) {
      files.specific_.emplace_back(it.key(), *SpelledBy(*it));
      it = settings.erase(it);
    } else {
      ++it;
    }
  }
  if (settings.contains("added_tokens_decoder")) {
    FTD_RETURN_IF_ERROR(files.ReadDecoder(settings["added_tokens_decoder"]));
  } else {
    FTD_RETURN_IF_ERROR(files.ReadLegacy(tokenizer));
  }
  FTD_RETURN_IF_ERROR(files.ReadExtra());
  FTD_RETURN_IF_ERROR(files.NameTokens());
  return files;
}

// {"128009": {"content": "<|eot_id|>", flags}, …}
absl::Status TokenFiles::ReadDecoder(const ordered_json& decoder) {
  if (!decoder.is_object())
    return Corrupt(Path(kConfigFile), R"("added_tokens_decoder" must be an object)");
  for (const auto& [key, value] : decoder.items()) {
    int64_t id = 0;
    const std::optional<AddedToken> token = TokenOf(value, false);
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
    const std::optional<AddedToken> token = TokenOf(entry, false);
    if (!token) return Corrupt(Path("tokenizer.json"), "an added token lacks its \"content\"");
    decoder_[IntegerOr(entry, "id", 0)] = *token;
  }
  return absl::OkStatus();
}

absl::Status TokenFiles::ReadSpecialTokensMap() {
  FTD_ASSIGN_OR_RETURN(const ordered_json map, ReadObject(dir_ / kMapFile));
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
  FTD_ASSIGN_OR_RETURN(const ordered_json ids, ReadObject(dir_ / kAddedFile));
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

// A list, or {"image_token": "<image>", …}.
absl::Status TokenFiles::ReadExtra() {
  const char* key = settings_.contains("extra_special_tokens") ? "extra_special_tokens"
                                                               : "additional_special_tokens";
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

// The special tokens by name. One that is also an added token has that one's flags.
absl::Status TokenFiles::NameTokens() {
  for (const char* name : kNamed) {
    const auto field = settings_.find(name);
    if (field == settings_.end()) continue;
    std::optional<Spelled> token;
    if (!field->is_null()) {
      token = SpelledBy(*field);
      if (!token) {
        return Corrupt(Path(kConfigFile),
                       Concat(name, R"( must be a token: a string, or an object with "content")"));
      }
      for (const auto& [id, added] : decoder_)
        if (added.content == token->token.content) token = Spelled{added, true};
    }
    names_.Set(name, std::move(token));
  }
  for (const auto& [name, value] : settings_.items()) {
    if (IsNamed(name) || !absl::EndsWith(name, "_token")) continue;
    if (auto token = SpelledBy(value)) names_.Set(name, std::move(token));
  }
  for (const auto& [name, token] : specific_) names_.Set(name, token);
  return absl::OkStatus();
}

// The class's own names for special tokens, where the files are silent; and the token that
// tokenizer.json pads with.
void TokenFiles::NameMissing(const TokenizerClass& tokenizer_class, const json& padding) {
  const json defaults = json::parse(tokenizer_class.special_tokens);
  TokenNames all;
  for (const char* name : kNamed) {
    if (names_.Has(name)) {
      const Spelled* token = names_.Find(name);
      all.Set(name, token == nullptr ? std::nullopt : std::optional<Spelled>(*token));
    } else if (defaults.contains(name)) {
      all.Set(name, Spelled{SpecialToken(defaults[name].get<std::string>())});
    } else if (const json* pad = FindField(padding, "pad_token");
               pad != nullptr && pad->is_string() && std::string_view(name) == "pad_token") {
      all.Set(name, Spelled{SpecialToken(pad->get<std::string>())});
    }
  }
  for (const auto& [name, value] : settings_.items()) {
    if (IsNamed(name)) continue;
    if (const Spelled* token = names_.Find(name)) all.Set(name, *token);
  }
  for (const auto& [name, token] : specific_) all.Set(name, token);
  names_ = std::move(all);
}

// In order: the added tokens that the tokenizer lacks or has with other flags, then the special
// ones that are not among them.
std::vector<AddedToken> TokenFiles::TokensToAdd(const TokenMap& present,
                                                const TokenizerClass& tokenizer_class) const {
  std::vector<AddedToken> adding;
  absl::flat_hash_set<std::string> known, named;
  for (const auto& [content, token] : present) known.insert(content);
  for (const auto& [id, token] : decoder_) {
    const auto same = present.find(token.content);
    if (same == present.end() || !SameToken(same->second, token)) adding.push_back(token);
    known.insert(token.content);
  }
  std::vector<Spelled> special;
  names_.ForEach([&](const Spelled& spelled) {
    named.insert(spelled.token.content);
    special.push_back(spelled);
  });
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

std::string StringOrEmpty(const ordered_json& object, const char* name) {
  const ordered_json* field = FindField(object, name);
  return field != nullptr && field->is_string() ? field->get<std::string>() : std::string();
}

// Mistral's files of before transformers 5 have a wrong pattern, which this setting puts right.
// Only there: transformers looks at vocabulary, config.json and the place of the pattern in the
// same way.
void FixMistralPattern(const ordered_json& config, size_t vocab_size, json* document) {
  constexpr const char* kModels[] = {"mistral", "mistral3", "voxtral", "ministral", "pixtral"};
  constexpr size_t kSmallest =
      100'000;  // Tekken's vocabularies are larger, SentencePiece's smaller
  const auto step = document->find("pre_tokenizer");
  if (vocab_size <= kSmallest || step == document->end() || step->is_null()) return;
  const std::string version = StringOrEmpty(config, "transformers_version");
  int major = 0;
  if (absl::SimpleAtoi(version.substr(0, version.find('.')), &major) && major >= 5) return;
  const ordered_json* type = FindField(config, "model_type");
  if (config.empty() || (type != nullptr && std::find(std::begin(kModels), std::end(kModels),
                                                      *type) == std::end(kModels)))
    return;
  const json split = {
      {"type", "Split"},
      {"pattern",
       {{"Regex",
         R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"}}},
      {"behavior", "Isolated"},
      {"invert", false}};
  if (step->value("type", "") == "Sequence" && step->contains("pretokenizers") &&
      !(*step)["pretokenizers"].empty()) {
    (*step)["pretokenizers"][0] = split;
    return;
  }
  json second = *step;
  if (second.value("type", "") == "Metaspace") {
    second = {{"type", "ByteLevel"},
              {"add_prefix_space", false},
              {"trim_offsets", true},
              {"use_regex", false}};
  }
  *step = {{"type", "Sequence"}, {"pretokenizers", {split, second}}};
}

// What would change ids in a way that ftd lacks.
absl::Status CheckSettings(const fs::path& path, const ordered_json& settings) {
  // An EOS that is appended as text would be learned letter by letter.
  if (IsTruthy(FindField(settings, "split_special_tokens"))) {
    return Unsupported(path,
                       "split_special_tokens is not supported: set it to false, or remove it");
  }
  if (IsTruthy(FindField(settings, "init_inputs")))
    return Unsupported(path, "init_inputs is not supported");
  const ordered_json* files = FindField(settings, "fast_tokenizer_files");
  if (files != nullptr && files->is_array()) {
    for (const ordered_json& file : *files) {
      if (file != "tokenizer.json") {
        return Unsupported(path,
                           Concat("fast_tokenizer_files is not supported: it names ", file.dump()));
      }
    }
  }
  return absl::OkStatus();
}

// auto_map: {"AutoTokenizer": […]}, or in old files the list itself.
bool NamesRemoteCode(const ordered_json& settings) {
  const ordered_json* map = FindField(settings, "auto_map");
  if (map == nullptr) return false;
  return map->is_array() || FindField(*map, "AutoTokenizer") != nullptr;
}

// Puts the sections that the class brings into the place of the file's.
void Rebuild(const TokenizerClass& tokenizer_class, const json& settings, json* document) {
  json parts = tokenizer_class.rebuild(settings);
  json& model = (*document)["model"];
  for (const char* option : {"unk_token", "fuse_unk", "byte_fallback", "ignore_merges", "dropout",
                             "continuing_subword_prefix", "end_of_word_suffix"})
    model.erase(option);
  model["type"] = "BPE";
  model.update(parts["model"]);
  parts.erase("model");
  document->update(parts);
  (*document)["added_tokens"] = json::array();
  if (!tokenizer_class.keeps_post_processor) (*document)["post_processor"] = nullptr;
}

// The tokens that tokenizer.json adds by itself; for one that is there twice the last entry holds.
TokenMap PresentTokens(const json& document) {
  TokenMap present;
  const json* added = FindField(document, "added_tokens");
  if (added == nullptr || !added->is_array()) return present;
  for (const json& entry : *added) {
    std::optional<AddedToken> token = TokenOf(ordered_json(entry), false);
    if (token) present[token->content] = *token;  // Tokenizer::Load refuses what is none
  }
  return present;
}

std::string Fingerprint(std::string_view file, const AutoTokenizer& tokenizer) {
  json all = {
      {"file", Sha256Hex(file)}, {"rest", tokenizer.json.rest}, {"eos_token", tokenizer.eos_token}};
  for (const AddedToken& token : tokenizer.added) {
    all["added"].push_back({token.content, token.single_word, token.lstrip, token.rstrip,
                            token.normalized, token.special});
  }
  return Sha256Hex(all.dump());
}

}  // namespace

absl::StatusOr<AutoTokenizer> ReadAutoTokenizer(const fs::path& model_dir) {
  const fs::path path = model_dir / "tokenizer.json";
  // Mapped instead of read: the file may have tens of MB, of which little is kept as it is.
  absl::StatusOr<MappedFile> file = MappedFile::Open(path);
  if (absl::IsNotFound(file.status())) {
    return Error(Reason::kModelNotFound, Concat("there is no ", path.string(),
                                                "; a model directory needs a tokenizer.json"));
  }
  FTD_RETURN_IF_ERROR(file.status());
  AutoTokenizer tokenizer;
  absl::StatusOr<ModelJson> parsed = ParseModelJson(file->bytes());
  if (!parsed.ok()) return Prefixed(parsed.status(), Concat(path.string(), ": "));
  tokenizer.json = *std::move(parsed);
  json& document = tokenizer.json.rest;
  if (!document.is_object() || FindField(document, "model") == nullptr)
    return tokenizer;  // Tokenizer::Load says so

  FTD_ASSIGN_OR_RETURN(TokenFiles files, TokenFiles::Read(model_dir, tokenizer.json));
  FTD_ASSIGN_OR_RETURN(const ordered_json config, ReadObject(model_dir / "config.json"));
  const fs::path settings_path = model_dir / kConfigFile;
  FTD_RETURN_IF_ERROR(CheckSettings(settings_path, files.settings()));
  const absl::StatusOr<TokenizerClass> chosen = ChooseTokenizerClass(
      {.model_type = StringOrEmpty(config, "model_type"),
       .config_class = StringOrEmpty(config, "tokenizer_class"),
       .tokenizer_class = StringOrEmpty(files.settings(), "tokenizer_class"),
       .has_remote_code = NamesRemoteCode(files.settings()),
       .says_byte_level = file->bytes().find("\"ByteLevel\"") != std::string_view::npos});
  if (!chosen.ok()) return Prefixed(chosen.status(), Concat(model_dir.string(), ": "));
  files.NameMissing(*chosen, json(document.value("padding", json())));
  if (chosen->rebuild != nullptr) Rebuild(*chosen, json(files.settings()), &document);
  if (IsTruthy(FindField(files.settings(), "fix_mistral_regex")))
    FixMistralPattern(config, tokenizer.json.vocab.size(), &document);
  tokenizer.added = files.TokensToAdd(PresentTokens(document), *chosen);
  tokenizer.eos_token = files.eos_token();
  tokenizer.fingerprint = Fingerprint(file->bytes(), tokenizer);
  return tokenizer;
}

}  // namespace ftd
