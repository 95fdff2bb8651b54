#include "client/text/plot.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "client/text/text.h"

namespace ftd {
namespace {

using Lines = std::vector<std::string>;

// The dots of a braille pattern are the bits of its code point (Unicode 15, chapter 21.1): 1-2-3-7
// down the left, 4-5-6-8 down the right.
TEST(PlotLine, BrailleDots) {
  // 2 x 4 dots: a falling line from the top left (dot 1) to the bottom right (dots 5, 6, 8 on its
  // way).
  EXPECT_EQ(PlotLine({1, 0}, 1, 1, true), Lines({"⢱"}));
  EXPECT_EQ(PlotLine({0, 1}, 1, 1, true), Lines({"⡸"}));
  // Two cells: dots 1 4 (top) then 7 8 (bottom), joined down the column where it falls.
  EXPECT_EQ(PlotLine({1, 1, 0, 0}, 2, 1, true), Lines({"⠉⣆"}));
}

TEST(PlotLine, AsciiIsOneStarACell) {
  EXPECT_EQ(PlotLine({3, 2, 1}, 3, 3, false), Lines({"*  ", " * ", "  *"}));
}

TEST(PlotLine, ConstantIsALineInTheMiddle) {
  EXPECT_EQ(PlotLine({2, 2, 2}, 3, 3, false), Lines({"   ", "***", "   "}));
}

TEST(PlotLine, AveragesWhenThereAreMoreValuesThanDots) {
  // Means 2 and 0 of the range 0 to 3: two thirds of four rows up, and the bottom.
  EXPECT_EQ(PlotLine({3, 1, 0, 0}, 2, 4, false), Lines({"  ", "* ", " *", " *"}));
}

TEST(PlotLine, NonFiniteValuesLeaveGaps) {
  const double nan = std::nan("");
  const double inf = std::numeric_limits<double>::infinity();
  EXPECT_EQ(PlotLine({1, nan, 1}, 3, 1, false), Lines({"* *"}));
  EXPECT_EQ(PlotLine({inf, 1, -inf}, 3, 1, false), Lines({" * "}));
  EXPECT_EQ(PlotLine({nan}, 2, 1, true), Lines({"  "}));
  EXPECT_EQ(PlotLine({}, 2, 1, true), Lines({"  "}));
}

TEST(PlotWithAxes, LabelsExtremesAndSteps) {
  EXPECT_EQ(
      PlotWithAxes({3.25, 1.5}, 1, 2, 17, 4, false),
      Lines({"3.250 +***       ", "      |   ****   ", "1.500 +       ***", "       step 1   2"}));
}

TEST(PlotWithAxes, TooSmallIsEmpty) {
  EXPECT_TRUE(PlotWithAxes({1, 2}, 1, 2, 15, 10, true).empty());
  EXPECT_TRUE(PlotWithAxes({1, 2}, 1, 2, 80, 2, true).empty());
  EXPECT_TRUE(PlotWithAxes({}, 0, 0, 80, 20, true).empty());
  EXPECT_TRUE(PlotWithAxes({1e300, 1}, 1, 2, 80, 20, true).empty())
      << "labels wider than the screen";
}

TEST(PlotWithAxes, AnySizeStaysInside) {
  std::mt19937 random(7);
  std::vector<double> values(300);
  for (double& value : values) value = static_cast<double>(random() % 1000) / 100;
  for (int columns = 1; columns < 90; columns += 7) {
    for (int rows = 1; rows < 30; rows += 3) {
      for (const size_t count : {0, 1, 2, 50, 300}) {
        const std::vector<double> some(values.begin(),
                                       values.begin() + static_cast<std::ptrdiff_t>(count));
        const Lines lines = PlotWithAxes(some, 1, static_cast<int64_t>(count), columns, rows, true);
        EXPECT_LE(lines.size(), static_cast<size_t>(rows));
        for (const std::string& line : lines)
          EXPECT_LE(DisplayWidth(line), columns) << columns << "x" << rows;
      }
    }
  }
}

}  // namespace
}  // namespace ftd
