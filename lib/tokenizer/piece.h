// A stretch of text on its way to words, and the characters in it that are followed to their tokens
// (Tokenizer::EncodeAt).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"

namespace ftd {

// The characters that are followed, in order: each points into the text that pieces are cut from.
// Where that text is rewritten, each mark goes to what its character has become.
using Marks = std::vector<const char*>;

struct Piece {
  std::string_view text;
  bool at_start = false;  // of the whole input
  // Those of the whole text that `text` is cut from; null when none are followed.
  const Marks* marks = nullptr;
};

// A piece that is written in other letters, with its marks.
class RewrittenPiece {
 public:
  // `rewrite` must go from character to character. It may put a prefix in front, which then counts
  // with the first character.
  RewrittenPiece(const Piece& piece, absl::FunctionRef<std::string(std::string_view)> rewrite)
      : text_(rewrite(piece.text)), at_start_(piece.at_start), is_marked_(piece.marks != nullptr) {
    if (piece.marks == nullptr) return;
    const char* const begin = piece.text.data();
    for (const char* const mark : *piece.marks) {
      size_t position = 0;  // in text_; marks outside the piece stay outside
      if (mark >= begin + piece.text.size()) {
        position = text_.size();
      } else if (mark > begin) {
        position = rewrite(piece.text.substr(0, mark - begin)).size();
      }
      marks_.push_back(text_.data() + position);
    }
  }
  RewrittenPiece(const RewrittenPiece&) = delete;
  RewrittenPiece& operator=(const RewrittenPiece&) = delete;

  // Points into this object.
  Piece piece() const { return {text_, at_start_, is_marked_ ? &marks_ : nullptr}; }

 private:
  const std::string text_;
  const bool at_start_;
  const bool is_marked_;
  Marks marks_;
};

}  // namespace ftd
