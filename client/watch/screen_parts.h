// What full screens have in common. Pure functions.
#pragma once

#include <string>
#include <vector>

#include "client/text/styled_line.h"
#include "ftd/v1/fine_tuning.pb.h"

namespace ftd {

struct ScreenStyle {
  int columns = 80;
  int rows = 24;
  bool color = false;   // ANSI colours
  bool unicode = true;  // braille and block characters, else ASCII
};

// The colour of a state.
Ink StateInk(ftd::v1::Job::State state);

// A bar filled to `share`, 0 to 1, as long as `text` after it leaves room for.
StyledLine BarLine(double share, const std::string& text, const ScreenStyle& style);

// Returns the lines as text, the first of them where there are more than the screen has rows.
std::vector<std::string> RenderLines(const std::vector<StyledLine>& lines,
                                     const ScreenStyle& style);

}  // namespace ftd
