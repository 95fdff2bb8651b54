// The pre-tokenizers of tokenizer.json: from a text to its words.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "lib/tokenizer/piece.h"
#include "lib/tokenizer/regex/regex.h"
#include "nlohmann/json.hpp"

namespace ftd {

// One step. It sees each piece by itself, as if nothing stood around it.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  // Calls `sink` for the parts of `piece`, in order. What they point to lives until `sink` returns.
  virtual void Split(const Piece& piece, RegexScratch& scratch,
                     absl::FunctionRef<void(const Piece&)> sink) const = 0;
};

// The steps of a "pre_tokenizer" section. Immutable, usable from many threads with a scratch each.
class PreTokenizers {
 public:
  // Split, ByteLevel, Digits, Metaspace, and Sequences of them; null: one word. MODEL_UNSUPPORTED
  // names any other, MODEL_CORRUPT a bad field. A ByteLevel at the end is left to the model when
  // `model_takes_bytes`: words are then raw bytes instead of letters of the byte alphabet.
  static absl::StatusOr<PreTokenizers> Parse(const nlohmann::json& section, bool model_takes_bytes);
  // True when the last step of `section` is ByteLevel.
  static bool EndsWithByteLevel(const nlohmann::json& section);

  // Calls `sink` for each word of `piece`, in order.
  void ForEachWord(const Piece& piece, RegexScratch& scratch,
                   absl::FunctionRef<void(const Piece&)> sink) const {
    Run(0, piece, scratch, sink);
  }

 private:
  void Run(size_t step, const Piece& piece, RegexScratch& scratch,
           absl::FunctionRef<void(const Piece&)> sink) const;

  std::vector<std::unique_ptr<PreTokenizer>> steps_;
};

}  // namespace ftd
