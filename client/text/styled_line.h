// One line of a terminal, in pieces of different ink, cut to a width.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ftd {

enum class Ink { kPlain, kBold, kDim, kAccent, kGood, kWarn, kBad };

class StyledLine {
 public:
  // `text` is made Printable (text.h).
  void Add(Ink ink, std::string_view text);
  void Add(std::string_view text) { Add(Ink::kPlain, text); }

  // Columns that it takes uncut.
  int width() const { return width_; }

  // At most `columns` wide; with `color`, with ANSI codes, which end within the line.
  std::string Render(int columns, bool color, bool unicode) const;

 private:
  std::vector<std::pair<Ink, std::string>> pieces_;
  int width_ = 0;
};

}  // namespace ftd
