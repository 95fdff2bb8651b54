// Tokenizers of Hugging Face models: BPE, byte-level (GPT-2, Llama 3, SmolLM2) and
// SentencePiece-style (Llama 2, Mistral), with normalizers, pre-tokenizers, added tokens and
// template post-processing.
//
// Token ids are those of AutoTokenizer of transformers 5, string for string
// (tests/lib/tokenizer/auto_tokenizer_test.py), and for a tokenizer.json by itself those of the
// `tokenizers` library (tokenizer_parity_test.py).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace ftd {

// Immutable after loading; may be used from many threads at once.
class Tokenizer {
 public:
  // The tokenizer of a model's folder, as AutoTokenizer makes it of tokenizer.json and the small
  // files beside it (auto_tokenizer.h). FAILED_PRECONDITION MODEL_UNSUPPORTED when a component or a
  // class is not one of those supported (it is named), MODEL_CORRUPT when a file is damaged;
  // NOT_FOUND MODEL_NOT_FOUND when there is no tokenizer.json.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const std::filesystem::path& model_dir);
  // The text of a tokenizer.json by itself, as `tokenizers` reads it. The same errors.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Parse(std::string_view tokenizer_json);
  virtual ~Tokenizer() = default;

  // Ids of UTF-8 `text` (invalid bytes are replaced by U+FFFD first). `add_special_tokens` applies
  // the post-processor, which adds BOS where the model wants one.
  virtual std::vector<int32_t> Encode(std::string_view text, bool add_special_tokens) const = 0;
  // The ids of Encode(text, false); into *tokens goes, for each of `positions`, which token holds
  // the character that begins at that byte of `text`: the first one that ends after the position,
  // as an index into the ids; the number of ids when none does. Space that an added token takes
  // belongs to it; a prefix that the tokenizer puts in front of a text belongs to its first
  // character; a character that becomes several tokens is held by the first, and one that is
  // dropped by the next token. Requires: valid UTF-8, and ascending positions at which characters
  // begin, or the size of `text`. Takes little longer than Encode, four times as long where a
  // tokenizer does not split a text into words; and O(size of text) for each position.
  virtual std::vector<int32_t> EncodeAt(std::string_view text, const std::vector<size_t>& positions,
                                        std::vector<size_t>* tokens) const = 0;
  // Text of ids, special tokens included.
  virtual std::string Decode(const std::vector<int32_t>& ids) const = 0;
  // -1 for an unknown token.
  virtual int32_t TokenToId(std::string_view token) const = 0;
  // One more than the largest id.
  virtual int32_t VocabSize() const = 0;
  // Load's: the special tokens that have a name, each with its text: {"bos_token", "<s>"}, …, and
  // the model's own ("image_token"). They are special_tokens_map of transformers, whose entries are
  // variables of chat templates.
  virtual const std::vector<std::pair<std::string, std::string>>& SpecialTokens() const = 0;
  // Load's: the end-of-sequence token that the folder names, "" when it names none; and a SHA-256,
  // in hex, of all that the ids of a text depend on.
  virtual const std::string& EosToken() const = 0;
  virtual const std::string& Fingerprint() const = 0;
};

}  // namespace ftd
