#include "lib/tokenizer/added_tokens.h"

#include <algorithm>

#include "lib/base/utf8.h"
#include "lib/tokenizer/regex/unicode_tables.h"

namespace ftd {
namespace {

bool IsWord(uint32_t point) { return IsIn(kWord, kWordSize, point); }

// Returns whether a token between the two texts would be part of a word (single_word).
bool TouchesWord(std::string_view before, std::string_view after) {
  return (!before.empty() && IsWord(DecodeUtf8(before, LastCodePointBegin(before)))) ||
         (!after.empty() && IsWord(DecodeUtf8(after, 0)));
}

// Strips what \s of Rust's regex crate matches, as `tokenizers` does for lstrip and rstrip.
size_t TrailingSpaceBegin(std::string_view text) {
  while (!text.empty()) {
    const size_t last = LastCodePointBegin(text);
    if (!IsUnicodeSpace(DecodeUtf8(text, last))) break;
    text = text.substr(0, last);
  }
  return text.size();
}

size_t LeadingSpaceEnd(std::string_view text) {
  size_t pos = 0;
  while (pos < text.size() && IsUnicodeSpace(DecodeUtf8(text, pos))) {
    pos += Utf8Length(static_cast<unsigned char>(text[pos]));
  }
  return pos;
}

}  // namespace

// A trie over bytes. Node 0 is the root; as a child it means "none", because nothing leads back to
// the root.
AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens)
    : tokens_(std::move(tokens)), nodes_(1) {
  for (size_t i = 0; i < tokens_.size(); ++i) Add(static_cast<int32_t>(i));
}

void AddedTokenMatcher::Add(int32_t token) {
  const std::string& pattern = tokens_[token].pattern;
  if (pattern.empty()) return;
  first_.set(static_cast<unsigned char>(pattern[0]));
  uint32_t node = 0;
  for (const unsigned char byte : pattern) {
    uint32_t child = Step(node, byte);
    if (child == 0) {
      child = static_cast<uint32_t>(nodes_.size());
      auto& next = nodes_[node].next;
      // Children are sorted by byte, so that Step can search them.
      next.insert(std::upper_bound(next.begin(), next.end(), std::make_pair(byte, uint32_t{0})),
                  {byte, child});
      nodes_.emplace_back();
    }
    node = child;
  }
  nodes_[node].token = token;
}

uint32_t AddedTokenMatcher::Step(uint32_t node, unsigned char byte) const {
  const auto& next = nodes_[node].next;
  const auto child = std::lower_bound(next.begin(), next.end(), std::make_pair(byte, uint32_t{0}));
  return child != next.end() && child->first == byte ? child->second : 0;
}

// Leftmost-longest, as the Aho-Corasick automaton of `tokenizers` is set to match: of "<|end|>" and
// "<|end|>x" the longer one wins where both fit.
int32_t AddedTokenMatcher::LongestAt(std::string_view text, size_t pos) const {
  int32_t longest = -1;
  uint32_t node = 0;
  for (; pos < text.size(); ++pos) {
    node = Step(node, static_cast<unsigned char>(text[pos]));
    if (node == 0) break;
    if (nodes_[node].token >= 0) longest = nodes_[node].token;
  }
  return longest;
}

void AddedTokenMatcher::Split(
    std::string_view text, absl::FunctionRef<void(std::string_view piece, int32_t id)> sink) const {
  size_t done = 0;
  for (size_t pos = 0; pos < text.size();) {
    // Hardly any byte of a text begins an added token: one bit decides most positions.
    if (!first_.test(static_cast<unsigned char>(text[pos]))) {
      ++pos;
      continue;
    }
    const int32_t found = LongestAt(text, pos);
    if (found < 0) {
      ++pos;
      continue;
    }
    const AddedToken& token = tokens_[found];
    size_t begin = pos;
    size_t end = pos + token.pattern.size();
    pos = end;  // what is stripped beside a token may still hold the next one
    // Within a word such a token is text, and the search continues after it, as in `tokenizers`.
    if (token.single_word && TouchesWord(text.substr(0, begin), text.substr(end))) continue;
    // Space that the token before has taken is not taken twice.
    if (token.lstrip) begin = std::max(TrailingSpaceBegin(text.substr(0, begin)), done);
    if (token.rstrip) end += LeadingSpaceEnd(text.substr(end));
    if (done < begin) sink(text.substr(done, begin - done), -1);
    sink(text.substr(begin, end - begin), token.id);
    done = end;
  }
  if (done < text.size()) sink(text.substr(done), -1);
}

}  // namespace ftd
