// Line plots in text. Pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ftd {

// `values`, evenly spaced, as a line in `rows` lines of `columns` cells each, the largest value on
// top. A cell is a braille pattern of 2 × 4 dots, or one '*' when `unicode` is false. More values
// than dots are averaged, fewer are joined by straight lines. NaN and infinities leave gaps.
// Requires: columns ≥ 1, rows ≥ 1.
std::vector<std::string> PlotLine(const std::vector<double>& values, int columns, int rows,
                                  bool unicode);

// PlotLine with the largest and smallest value at the left and the first and last step below:
// `rows` lines, each at most `columns` wide. Empty when that is too small (columns < 16 or rows <
// 3) or no value is finite.
std::vector<std::string> PlotWithAxes(const std::vector<double>& values, int64_t first_step,
                                      int64_t last_step, int columns, int rows, bool unicode);

}  // namespace ftd
