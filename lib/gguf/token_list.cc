#include "lib/gguf/token_list.h"

#include <string_view>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "lib/base/concat.h"
#include "lib/base/error.h"
#include "lib/base/json.h"

namespace ftd::gguf {
namespace {

enum TokenType : int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,      // found in a text only where special tokens are asked for
  kUserDefined = 4,  // found in every text
  kUnused = 5,
  kByte = 6,
};

// Of added tokens, which are never joined of parts.
constexpr float kAddedScore = -1000;

absl::Status UnsupportedTokens(std::string_view problem) {
  return Error(Reason::kModelUnsupported, Concat("no GGUF file of this tokenizer: ", problem));
}

// Files of some models call tokens of a conversation plain ones; llama.cpp's own converter does not
// believe them.
bool LooksSpecial(std::string_view text) {
  for (const std::string_view known : {"<pad>", "<mask>", "<2mass>", "[@BOS@]"}) {
    if (text == known) return true;
  }
  return (text.starts_with("<|") && text.ends_with("|>")) ||
         (text.starts_with("<｜") && text.ends_with("｜>")) ||
         (text.starts_with("<unused") && text.ends_with(">"));
}

class Builder {
 public:
  Builder(const AutoTokenizer& parts, const Tokenizer& tokenizer, int64_t size)
      : parts_(parts), tokenizer_(tokenizer), size_(size) {
    list_.types.assign(size, kUnused);
    list_.texts.resize(size);
    for (int64_t id = 0; id < size; ++id) list_.texts[id] = Concat("[PAD", id, "]");
  }

  absl::Status AddVocabulary() {
    for (const ModelJson::Token& token : parts_.json.vocab)
      FTD_RETURN_IF_ERROR(Set(token.id, parts_.json.view(token.text), kNormal));
    for (const NamedToken& token : AddedTokensOf(parts_)) {
      const std::string& text = token.text;
      const bool is_control = token.special || LooksSpecial(text);
      // llama.cpp looks for them in the text as it is, with its spaces.
      const std::string spelling = is_control ? text : absl::StrReplaceAll(text, {{"▁", " "}});
      FTD_RETURN_IF_ERROR(
          Set(tokenizer_.TokenToId(text), spelling, is_control ? kControl : kUserDefined));
    }
    return absl::OkStatus();
  }

  void AddMerges() {
    for (const ModelJson::MergePair& merge : parts_.json.merges) {
      list_.merges.push_back(
          Concat(parts_.json.view(merge.left), " ", parts_.json.view(merge.right)));
    }
  }

  // Requires: AddVocabulary. SentencePiece has no merges, but joins the pair whose token has the
  // highest score: minus the place of the first merge that makes the token.
  absl::Status AddScores() {
    absl::flat_hash_map<std::string, float> scores;
    for (const ModelJson::MergePair& merge : parts_.json.merges) {
      scores.try_emplace(Concat(parts_.json.view(merge.left), parts_.json.view(merge.right)),
                         -static_cast<float>(scores.size()));
    }
    for (int64_t id = 0; id < size_; ++id) {
      const auto score = scores.find(list_.texts[id]);
      const bool is_plain = list_.types[id] == kNormal;
      list_.scores.push_back(!is_plain ? kAddedScore : score != scores.end() ? score->second : 0);
    }
    return MarkSentencePieceTokens();
  }

  absl::StatusOr<TokenList> Done() && {
    absl::flat_hash_set<std::string> seen;
    for (const std::string& text : list_.texts) {
      if (!seen.insert(text).second) {
        return UnsupportedTokens(
            Concat("two tokens are spelled \"", text, "\", which llama.cpp refuses"));
      }
    }
    return std::move(list_);
  }

 private:
  absl::Status Set(int32_t id, std::string_view text, TokenType type) {
    if (id < 0 || id >= size_) {
      return UnsupportedTokens(Concat("the token \"", text, "\" has the id ", id,
                                      ", but the model has embeddings for ", size_, " ids"));
    }
    // llama.cpp gives an empty token this name of its own.
    list_.texts[id] = text.empty() ? Concat("[EMPTY_", id, "]") : std::string(text);
    list_.types[id] = type;
    return absl::OkStatus();
  }

  absl::Status MarkSentencePieceTokens() {
    for (int byte = 0; byte < 256; ++byte) {
      const int32_t id = tokenizer_.TokenToId(absl::StrFormat("<0x%02X>", byte));
      if (id < 0 || id >= size_) return UnsupportedTokens("it lacks tokens of single bytes");
      list_.types[id] = kByte;
    }
    const nlohmann::json* model = FindField(parts_.json.rest, "model");
    const nlohmann::json* unknown = model != nullptr ? FindField(*model, "unk_token") : nullptr;
    const int32_t id = tokenizer_.TokenToId(
        unknown != nullptr && unknown->is_string() ? unknown->get<std::string>() : "<unk>");
    if (id >= 0) list_.types[id] = kUnknown;
    return absl::OkStatus();
  }

  const AutoTokenizer& parts_;
  const Tokenizer& tokenizer_;
  int64_t size_;
  TokenList list_;
};

}  // namespace

std::vector<NamedToken> AddedTokensOf(const AutoTokenizer& parts) {
  std::vector<NamedToken> added;
  if (const nlohmann::json* section = FindField(parts.json.rest, "added_tokens")) {
    for (const nlohmann::json& token : *section) {
      added.push_back({token.value("content", ""), token.value("special", false),
                       token.value("lstrip", false), token.value("rstrip", false)});
    }
  }
  for (const AddedToken& token : parts.added)
    added.push_back({token.content, token.special, token.lstrip, token.rstrip});
  return added;
}

absl::StatusOr<TokenList> MakeTokenList(const AutoTokenizer& parts, const Tokenizer& tokenizer,
                                        const TokenizerKind& kind, int64_t size) {
  Builder builder(parts, tokenizer, size);
  FTD_RETURN_IF_ERROR(builder.AddVocabulary());
  if (kind.sentencepiece) {
    FTD_RETURN_IF_ERROR(builder.AddScores());
  } else {
    builder.AddMerges();
  }
  return std::move(builder).Done();
}

}  // namespace ftd::gguf
