// Plots in text. Pure functions.
#pragma once

#include <string>
#include <vector>

#include "client/text/styled_line.h"

namespace ftd {

struct PlotPoint {
  double x = 0, y = 0;
};

struct PlotSeries {
  // Dots for values that scatter; a line through the means of those that fall into one column;
  // marks as large as a character.
  enum class Form { kDots, kLine, kMarks };
  Form form = Form::kDots;
  Ink ink = Ink::kPlain;
  std::string name;               // in the legend
  std::vector<PlotPoint> points;  // by x, ascending; a y that is not finite leaves a gap
};

// A chart in `rows` lines, each at most `columns` wide: the legend, the plot with ticks at round
// values on its left, the axis of x with ticks at round integers, and their labels with `x_name`.
// Where two series meet, the later one is seen. A cell is a Braille pattern of 2 × 4 dots, or one
// ASCII character when `unicode` is false. Empty when that is too small (rows < 6, or fewer than 10
// columns for the plot) or no value is finite.
std::vector<StyledLine> Plot(const std::vector<PlotSeries>& series, const std::string& x_name,
                             int columns, int rows, bool unicode);

}  // namespace ftd
