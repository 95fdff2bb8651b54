#include "lib/tokenizer/auto/auto_tokenizer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "lib/base/concat.h"
#include "lib/base/contained_file.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/base/sha256.h"
#include "lib/tokenizer/auto/token_files.h"
#include "lib/tokenizer/auto/tokenizer_class.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

absl::Status Unsupported(const fs::path& path, std::string_view problem) {
  return Error(Reason::kModelUnsupported, Concat(path.string(), ": ", problem));
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
  const absl::StatusOr<OpenedFile> opened = OpenContained(model_dir, "tokenizer.json");
  if (absl::IsNotFound(opened.status())) {
    return Error(Reason::kModelNotFound, Concat("there is no ", path.string(),
                                                "; a model directory needs a tokenizer.json"));
  }
  FTD_RETURN_IF_ERROR(opened.status());
  FTD_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Map(opened->fd, path));
  AutoTokenizer tokenizer;
  absl::StatusOr<ModelJson> parsed = ParseModelJson(file.bytes());
  if (!parsed.ok()) return Prefixed(parsed.status(), Concat(path.string(), ": "));
  tokenizer.json = *std::move(parsed);
  json& document = tokenizer.json.rest;
  if (!document.is_object() || FindField(document, "model") == nullptr)
    return tokenizer;  // Tokenizer::Load says so

  FTD_ASSIGN_OR_RETURN(TokenFiles files, TokenFiles::Read(model_dir, tokenizer.json));
  FTD_ASSIGN_OR_RETURN(const ordered_json config, ReadObject(model_dir, "config.json"));
  FTD_RETURN_IF_ERROR(CheckSettings(model_dir / "tokenizer_config.json", files.settings()));
  const absl::StatusOr<TokenizerClass> chosen = ChooseTokenizerClass(
      {.model_type = StringOrEmpty(config, "model_type"),
       .config_class = StringOrEmpty(config, "tokenizer_class"),
       .tokenizer_class = StringOrEmpty(files.settings(), "tokenizer_class"),
       .has_remote_code = NamesRemoteCode(files.settings()),
       .says_byte_level = file.bytes().find("\"ByteLevel\"") != std::string_view::npos});
  if (!chosen.ok()) return Prefixed(chosen.status(), Concat(model_dir.string(), ": "));
  FTD_RETURN_IF_ERROR(files.NameTokens(*chosen, document.value("padding", json())));
  if (chosen->rebuild != nullptr) Rebuild(*chosen, json(files.settings()), &document);
  if (IsTruthy(FindField(files.settings(), "fix_mistral_regex")))
    FixMistralPattern(config, tokenizer.json.vocab.size(), &document);
  tokenizer.added = files.TokensToAdd(document, *chosen);
  tokenizer.special_tokens = files.special_tokens();
  for (const auto& [name, token] : tokenizer.special_tokens)
    if (name == "eos_token") tokenizer.eos_token = token;
  tokenizer.fingerprint = Fingerprint(file.bytes(), tokenizer);
  return tokenizer;
}

}  // namespace ftd
