// What has been encoded of a text: the ids, and the tokens of the marks that have been passed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "lib/tokenizer/piece.h"

namespace ftd {

struct Encoded {
  std::vector<int32_t> ids;
  std::vector<size_t> tokens;  // by mark: the index into ids of the token that holds it

  // Returns whether the next mark is in `piece`, or in what was dropped before it.
  bool ReachesMark(const Piece& piece) const {
    return piece.marks != nullptr && tokens.size() < piece.marks->size() &&
           (*piece.marks)[tokens.size()] < piece.text.data() + piece.text.size();
  }

  // Finds the tokens of the marks that `piece` reaches. Its own tokens are the last of `ids`, and
  // end at its bytes `ends`. Where the piece has dropped what follows its last token, the mark is
  // for the token that comes next.
  void LocateMarks(const Piece& piece, const std::vector<size_t>& ends) {
    const char* const begin = piece.text.data();
    while (ReachesMark(piece)) {
      const auto position =
          static_cast<size_t>(std::max((*piece.marks)[tokens.size()], begin) - begin);
      const auto holder =
          std::find_if(ends.begin(), ends.end(), [&](size_t end) { return end > position; });
      tokens.push_back(ids.size() - (ends.end() - holder));
    }
  }

  // Appends an added token, whose text is `piece`.
  void AddToken(const Piece& piece, int32_t id) {
    ids.push_back(id);
    if (ReachesMark(piece)) LocateMarks(piece, {piece.text.size()});
  }
};

}  // namespace ftd
