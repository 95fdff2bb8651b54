// The text of a sequence's tokens as they come, up to the first stop string.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lib/tokenizer/tokenizer.h"

namespace ftd {

// What it returns, end to end, is the text of the tokens after the prompt: valid UTF-8 each time,
// without special tokens such as EOS, and cut before the first stop string. Text is held back while
// a character or a stop string may be incomplete. Not thread-safe.
class TextStream {
 public:
  // The tokenizer must outlive it. The end of the prompt decides about a space before the first
  // word. Stop strings are not empty.
  TextStream(const Tokenizer& tokenizer, const std::vector<int32_t>& prompt,
             std::vector<std::string> stops);

  // Returns the text that is certain after one more token.
  std::string Add(int32_t token);
  // Returns the rest, when no token follows.
  std::string Finish();
  // Whether a stop string has come. No token may be added then.
  bool stopped() const { return stopped_; }

 private:
  // Moves complete characters of the newest tokens to held_; with `all`, the others too.
  void Decode(bool all);
  // Takes from held_ what is certain.
  std::string Release(bool all);

  const Tokenizer& tokenizer_;
  std::vector<std::string> stops_;
  std::vector<int32_t> special_;  // ids that have no text, ascending
  // The newest tokens; the text of the first decoded_ of them has been taken already.
  std::vector<int32_t> window_;
  size_t decoded_ = 0;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace ftd
