// From a row's text to token ids and labels, as TRL's SFTTrainer prepares them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/data/row_shape.h"
#include "lib/data/row_source.h"
#include "lib/tokenizer/tokenizer.h"

namespace ftd {

// A row, and what the cut at seq_length took from it.
struct EncodedRow : TokenizedRow {
  int64_t cut_tokens = 0;
  bool lost_completion = false;  // nothing of the completion is left; never for a row without one
  // Of a conversation: a token that ends a turn although generation would not stop there.
  std::optional<int32_t> unstopped;
};

// Immutable; may be used from many threads at once.
struct RowEncoder {
  const Tokenizer* tokenizer = nullptr;
  std::string eos_token;          // appended to a text, or a completion, that does not end with it
  int32_t seq_length = 0;         // cut on the right; 0: never
  std::vector<int32_t> stop_ids;  // tokens at which generation stops, ascending

  // As TRL does: text and EOS, then the tokenizer's own special tokens around them, then the cut. A
  // text that spells out a BOS keeps it beside the tokenizer's own. Where only the completion is
  // learned, labels begin where the ids of the prompt alone and those of the whole text part: that
  // may be before the prompt's end, when a token reaches over it.
  //
  // A conversation is tokenised as it is, and a token is learned that holds a byte of a learned
  // span.
  EncodedRow Encode(const Example& example) const;
  // The text with EOS: exactly what is tokenised.
  std::string WithEos(const Example& example) const;

 private:
  EncodedRow EncodeText(const Example& example) const;
  EncodedRow EncodeConversation(const Example& example) const;
};

// The encoder of a model directory. EOS is the tokenizer's, else the one whose id config.json has;
// generation stops there, and at those of generation_config.json, or of config.json without one.
// MODEL_UNSUPPORTED when there is none. The returned encoder points at `tokenizer`, which must
// outlive it.
absl::StatusOr<RowEncoder> MakeRowEncoder(const std::filesystem::path& model_dir,
                                          const Tokenizer& tokenizer, int32_t seq_length);

}  // namespace ftd
