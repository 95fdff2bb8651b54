// The added tokens of tokenizer.json: cut out of the text before, or after, normalisation.
#pragma once

#include <bitset>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"

namespace ftd {

struct AddedToken {
  std::string content;
  std::string pattern;  // what is searched for: content, normalised where `normalized` asks for it
  int32_t id = 0;
  bool single_word = false;
  bool lstrip = false;
  bool rstrip = false;
  bool normalized = false;
  bool special = false;
};

// Finds a set of added tokens in a text, leftmost first and the longest of those. Immutable after
// construction.
class AddedTokenMatcher {
 public:
  AddedTokenMatcher() : nodes_(1) {}
  explicit AddedTokenMatcher(std::vector<AddedToken> tokens);

  // Calls `sink(piece, id)` for the pieces of `text` in order: id ≥ 0 for a token, -1 for text
  // between tokens.
  void Split(std::string_view text,
             absl::FunctionRef<void(std::string_view piece, int32_t id)> sink) const;

 private:
  struct Node {
    std::vector<std::pair<unsigned char, uint32_t>> next;  // sorted by byte
    int32_t token = -1;                                    // index into tokens_
  };
  uint32_t Step(uint32_t node, unsigned char byte) const;  // 0 when there is no such child
  void Add(int32_t token);
  int32_t LongestAt(std::string_view text, size_t pos) const;

  std::vector<AddedToken> tokens_;
  std::vector<Node> nodes_;
  std::bitset<256> first_;  // bytes that a token begins with
};

}  // namespace ftd
