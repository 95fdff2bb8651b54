#include "client/text/styled_line.h"

#include "absl/strings/str_cat.h"
#include "client/text/text.h"

namespace ftd {
namespace {

// Returns the SGR code of one of the sixteen basic colours: every terminal has them, and its owner
// chose how they look.
const char* InkCode(Ink ink) {
  switch (ink) {
    case Ink::kPlain:
      return "";
    case Ink::kBold:
      return "\x1b[1m";
    case Ink::kDim:
      return "\x1b[2m";
    case Ink::kAccent:
      return "\x1b[36m";
    case Ink::kGood:
      return "\x1b[32m";
    case Ink::kWarn:
      return "\x1b[33m";
    case Ink::kBad:
      return "\x1b[31m";
  }
  return "";
}

}  // namespace

// Made printable here, so that no caller can forget it.
void StyledLine::Add(Ink ink, std::string_view text) {
  if (text.empty()) return;
  pieces_.emplace_back(ink, Printable(text));
  width_ += DisplayWidth(pieces_.back().second);
}

std::string StyledLine::Render(int columns, bool color, bool unicode) const {
  std::string out;
  int room = columns;
  for (size_t i = 0; i < pieces_.size() && room > 0; ++i) {
    const auto& [ink, text] = pieces_[i];
    // The piece that does not fit ends with the mark of what is lost, also when it would end just
    // there.
    const bool more = i + 1 < pieces_.size() && DisplayWidth(text) == room;
    const std::string shown =
        more ? Shorten(text + " ", room, unicode) : Shorten(text, room, unicode);
    room -= DisplayWidth(shown);
    const std::string code = color ? InkCode(ink) : "";
    absl::StrAppend(&out, code, shown, code.empty() ? "" : "\x1b[0m");
  }
  return out;
}

}  // namespace ftd
