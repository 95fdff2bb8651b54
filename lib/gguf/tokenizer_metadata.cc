#include "lib/gguf/tokenizer_metadata.h"

#include <algorithm>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "lib/base/concat.h"
#include "lib/base/contained_file.h"
#include "lib/base/error.h"
#include "lib/base/json.h"
#include "lib/chat/template_source.h"
#include "lib/gguf/pre_tokenizers.h"
#include "lib/gguf/token_list.h"
#include "lib/tokenizer/auto/auto_tokenizer.h"
#include "lib/tokenizer/tokenizer.h"

namespace ftd::gguf {
namespace {

// transformers' names of special tokens, and llama.cpp's keys.
constexpr struct {
  std::string_view name, key;
} kSpecialTokens[] = {
    {"bos_token", "tokenizer.ggml.bos_token_id"},
    {"eos_token", "tokenizer.ggml.eos_token_id"},
    {"unk_token", "tokenizer.ggml.unknown_token_id"},
    {"sep_token", "tokenizer.ggml.seperator_token_id"},
    {"pad_token", "tokenizer.ggml.padding_token_id"},
    {"mask_token", "tokenizer.ggml.mask_token_id"},
};

// Other tokens that end an answer: generation_config.json lists them.
constexpr std::string_view kMoreEndKeys[] = {"tokenizer.ggml.eot_token_id",
                                             "tokenizer.ggml.eom_token_id"};

// llama.cpp takes a model's name for a property of its tokenizer: special tokens of a model called
// phi-3 take the space after them, and it must have the tokens below.
bool HasPhi3Tokens(const AutoTokenizer& parts) {
  bool takes_space = false;
  size_t known = 0;
  for (const NamedToken& token : AddedTokensOf(parts)) {
    takes_space |= token.special && token.takes_space_after;
    for (const std::string_view text : {"<unk>", "<s>", "</s>", "<|endoftext|>"})
      known += token.text == text ? 1 : 0;
  }
  return takes_space && known == 4;
}

// The name of the folder, changed where it would say the opposite.
std::string ModelName(const std::filesystem::path& model_dir, const AutoTokenizer& parts) {
  const std::filesystem::path path = std::filesystem::absolute(model_dir).lexically_normal();
  std::string name = (path.has_filename() ? path : path.parent_path()).filename().string();
  const std::string lower = absl::AsciiStrToLower(name);
  const bool is_called_so = absl::StrContains(lower, "phi-3") || absl::StrContains(lower, "phi3");
  if (HasPhi3Tokens(parts)) return is_called_so ? name : Concat("phi-3 ", name);
  return is_called_so ? absl::StrReplaceAll(lower, {{"phi-3", "phi_3"}, {"phi3", "phi_3"}}) : name;
}

int32_t IdOf(const Tokenizer& tokenizer, std::string_view name) {
  for (const auto& [token_name, text] : tokenizer.SpecialTokens()) {
    if (token_name == name) return tokenizer.TokenToId(text);
  }
  return -1;
}

// What the tokenizer puts around a text; llama.cpp can put one token on each side.
struct Surroundings {
  std::vector<int32_t> before, after;
};

Surroundings SurroundingsOf(const Tokenizer& tokenizer) {
  const std::vector<int32_t> plain = tokenizer.Encode("a", false);
  const std::vector<int32_t> whole = tokenizer.Encode("a", true);
  const auto inner = std::search(whole.begin(), whole.end(), plain.begin(), plain.end());
  if (inner == whole.end()) return {whole, {}};
  return {{whole.begin(), inner}, {inner + static_cast<int64_t>(plain.size()), whole.end()}};
}

// The token that is put before a text is BOS, whether the folder names it so or not.
void AddSpecialTokens(const Tokenizer& tokenizer, Metadata* metadata,
                      std::vector<std::string>* notes) {
  const Surroundings around = SurroundingsOf(tokenizer);
  const bool adds_bos = around.before.size() == 1;
  const bool adds_eos = around.after == std::vector<int32_t>{IdOf(tokenizer, "eos_token")};
  for (const auto& [name, key] : kSpecialTokens) {
    const bool is_bos = name == "bos_token";
    const int32_t id = is_bos && adds_bos ? around.before.front() : IdOf(tokenizer, name);
    if (id >= 0) metadata->Add(key, static_cast<uint32_t>(id));
  }
  metadata->Add("tokenizer.ggml.add_bos_token", adds_bos);
  metadata->Add("tokenizer.ggml.add_eos_token", adds_eos);
  if (around.before.size() > 1 || around.after.size() > size_t{adds_eos}) {
    notes->push_back(
        "the tokenizer puts other tokens than BOS and EOS around a text, which llama.cpp does not: "
        "write them into the prompt, as the chat template does");
  }
}

void AddMoreEnds(const std::filesystem::path& model_dir, const Tokenizer& tokenizer,
                 Metadata* metadata) {
  const absl::StatusOr<std::string> text = ReadContained(model_dir, "generation_config.json");
  const auto settings = text.ok() ? ParseJsonObject(*text) : std::nullopt;
  const nlohmann::json* ends = settings ? FindField(*settings, "eos_token_id") : nullptr;
  if (ends == nullptr || !ends->is_array()) return;
  const int32_t eos = tokenizer.TokenToId(tokenizer.EosToken());
  auto key = std::begin(kMoreEndKeys);
  for (const nlohmann::json& end : *ends) {
    if (!end.is_number_integer() || end == eos || key == std::end(kMoreEndKeys)) continue;
    const auto id = end.get<int64_t>();
    if (id >= 0 && id < tokenizer.VocabSize()) metadata->Add(*key++, static_cast<uint32_t>(id));
  }
}

// Where llama.cpp finds other ids.
void AddNotes(const AutoTokenizer& parts, const TokenizerKind& kind,
              std::vector<std::string>* notes) {
  if (!kind.sentencepiece && FindField(parts.json.rest, "normalizer") != nullptr) {
    notes->push_back(
        "the tokenizer composes characters first (NFC), which llama.cpp does not: texts in another "
        "Unicode form get other tokens there");
  }
  for (const NamedToken& token : AddedTokensOf(parts)) {
    if (HasPhi3Tokens(parts) || !(token.takes_space_before || token.takes_space_after)) continue;
    notes->push_back(Concat("tokens such as ", token.text,
                            " take the spaces beside them, which llama.cpp leaves in the text"));
    break;
  }
  if (kind.only_at_start) {
    notes->push_back(
        "the tokenizer puts a space before a text that does not begin with one; llama.cpp puts it "
        "before every text, and after special tokens too");
  }
}

absl::Status AddChatTemplates(const std::filesystem::path& model_dir, Metadata* metadata) {
  FTD_ASSIGN_OR_RETURN(const std::vector<chat::NamedSource> sources,
                       chat::ReadTemplates(model_dir));
  std::vector<std::string> names;
  for (const chat::NamedSource& source : sources) {
    if (source.name == "default") {
      metadata->Add("tokenizer.chat_template", source.text);
    } else {
      names.push_back(source.name);
      metadata->Add(Concat("tokenizer.chat_template.", source.name), source.text);
    }
  }
  if (!names.empty()) metadata->Add("tokenizer.chat_templates", names);
  return absl::OkStatus();
}

}  // namespace

absl::Status AddTokenizer(const std::filesystem::path& model_dir, int64_t vocab_size,
                          Metadata* metadata, std::vector<std::string>* notes) {
  FTD_ASSIGN_OR_RETURN(const AutoTokenizer parts, ReadAutoTokenizer(model_dir));
  FTD_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, Tokenizer::Load(model_dir));
  FTD_ASSIGN_OR_RETURN(const TokenizerKind kind, FindTokenizerKind(parts.json.rest));
  FTD_ASSIGN_OR_RETURN(const TokenList tokens, MakeTokenList(parts, *tokenizer, kind, vocab_size));
  metadata->Add("general.name", ModelName(model_dir, parts));
  metadata->Add("tokenizer.ggml.model", kind.sentencepiece ? "llama" : "gpt2");
  metadata->Add("tokenizer.ggml.pre", kind.pre);
  metadata->Add("tokenizer.ggml.tokens", tokens.texts);
  metadata->Add("tokenizer.ggml.token_type", tokens.types);
  if (kind.sentencepiece) {
    metadata->Add("tokenizer.ggml.scores", tokens.scores);
    metadata->Add("tokenizer.ggml.add_space_prefix", kind.puts_space_before);
  } else {
    metadata->Add("tokenizer.ggml.merges", tokens.merges);
  }
  AddSpecialTokens(*tokenizer, metadata, notes);
  AddMoreEnds(model_dir, *tokenizer, metadata);
  AddNotes(parts, kind, notes);
  return AddChatTemplates(model_dir, metadata);
}

}  // namespace ftd::gguf
