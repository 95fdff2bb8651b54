#include "client/text/plot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <sstream>

#include "client/text/text.h"

namespace ftd {
namespace {

using Lines = std::vector<std::string>;
using Form = PlotSeries::Form;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Lines Render(const std::vector<PlotSeries>& series, int columns, int rows, bool unicode,
             bool color = false) {
  Lines lines;
  for (const StyledLine& line : Plot(series, "step", columns, rows, unicode))
    lines.push_back(line.Render(columns, color, unicode));
  return lines;
}

PlotSeries Of(Form form, std::vector<PlotPoint> points, Ink ink = Ink::kPlain) {
  return {form, ink, "loss", std::move(points)};
}

PlotSeries Line(const std::vector<double>& values) {
  PlotSeries line = Of(Form::kLine, {});
  for (size_t i = 0; i < values.size(); ++i)
    line.points.push_back({static_cast<double>(i + 1), values[i]});
  return line;
}

// Ten columns by three rows: the cells to the right of the axis.
Lines Cells(const PlotSeries& series, bool unicode) {
  Lines cells;
  for (const std::string& line : Render({series}, 15, 6, unicode)) {
    const std::string axis = unicode ? (line.find("┤") == std::string::npos ? "│" : "┤")
                                     : (line.find('+') == std::string::npos ? "|" : "+");
    const size_t at = line.find(axis);
    if (at != std::string::npos) cells.push_back(line.substr(at + axis.size()));
  }
  cells.resize(std::min<size_t>(cells.size(), 3));  // in ASCII the axis of x has a '+' too
  return cells;
}

// By hand: the values fall by 0.2 a column, and each column has the row that it is nearest to.
TEST(Plot, PointsOnALineAreJoined) {
  EXPECT_EQ(Render({Of(Form::kLine, {{1, 3}, {6, 2}, {11, 1}})}, 16, 6, false),
            Lines({"     * loss",       //
                   "  3 +***        ",  //
                   "  2 +   *****   ",  //
                   "  1 +        ***",  //
                   "    +----+----+-",  //
                   "step     5   10"}));
}

// The dots of a Braille pattern are the bits of its code point (Unicode 15, chapter 21.1): 1-2-3-7
// down the left, 4-5-6-8 down the right. Ten cells are 20 dots wide, three are 12 high.
TEST(Plot, BrailleDots) {
  EXPECT_EQ(Cells(Of(Form::kDots, {{0, 1}, {2, 1}, {3, 0}, {19, 0}}), true),
            Lines({"⠁⠁        ", "          ", " ⢀       ⢀"}));
  EXPECT_EQ(Cells(Of(Form::kDots, {{0, 11}, {0, 9}, {1, 8}, {1, 4}, {19, 0}}), true),
            Lines({"⢅         ", "⢀         ", "         ⢀"}));
}

TEST(Plot, ASteepLineHasNoHoles) {
  EXPECT_EQ(Cells(Of(Form::kLine, {{0, 0}, {8, 0}, {9, 2}}), false),
            Lines({"         *", "         *", "********* "}));
}

TEST(Plot, ALineIsTheMeanOfWhatFallsIntoAColumn) {
  // Ten columns of two values each: 0 and 2, but the last two.
  std::vector<double> values;
  for (int i = 0; i < 9; ++i) values.insert(values.end(), {0, 2});
  values.insert(values.end(), {2, 2, 0, 0});
  const Lines cells = Cells(Line(values), false);
  EXPECT_EQ(cells[1].substr(0, 8), "********");
}

TEST(Plot, NonFiniteValuesLeaveGaps) {
  const double nan = std::nan("");
  const double inf = std::numeric_limits<double>::infinity();
  EXPECT_EQ(Cells(Line({1, 1, 1, nan, 1, inf, -inf, 1, 1, 1}), false)[1], "*** *  ***");
  EXPECT_EQ(Cells(Of(Form::kDots, {{1, 1}, {2, nan}, {10, 1}}), false)[1], ".        .");
  EXPECT_TRUE(Render({Line({nan, inf})}, 80, 20, true).empty());
  EXPECT_TRUE(Render({}, 80, 20, true).empty());
  EXPECT_TRUE(Render({Line({})}, 80, 20, true).empty());
}

TEST(Plot, TheLaterSeriesCoversTheEarlierInItsOwnInk) {
  const std::vector<PlotSeries> series = {
      {Form::kDots, Ink::kDim, "loss", {{1, 0}, {5, 1}, {10, 2}}},
      {Form::kMarks, Ink::kWarn, "eval loss", {{5, 1}}},
      {Form::kLine, Ink::kBold, "nothing yet", {}}};
  EXPECT_EQ(Render(series, 15, 6, false),
            Lines({"     . loss   ~",  //
                   "  2 +         .", "  1 +    o     ", "  0 +.         ", "    +----+----+",
                   "step     5   10"}));
  EXPECT_THAT(Render(series, 40, 6, true), Contains(HasSubstr("· loss   ● eval loss")));
  EXPECT_THAT(Render(series, 40, 6, true, true), Contains(HasSubstr("\x1b[33m●")));
}

// Returns the labels on the left of a chart.
Lines LeftLabels(const std::vector<double>& values, int rows) {
  Lines labels;
  for (const std::string& line : Render({Line(values)}, 80, rows, false)) {
    std::istringstream words(line);
    std::string label, axis;
    if (words >> label && label.find_first_not_of("0123456789.e+-") == std::string::npos &&
        label.find_first_of("0123456789") != std::string::npos)
      labels.push_back(label);
  }
  return labels;
}

TEST(Plot, TicksAreRoundValues) {
  EXPECT_THAT(LeftLabels({4.475, 0.369}, 23), ElementsAre("4", "3", "2", "1"));
  EXPECT_THAT(LeftLabels({0.47, 0.05}, 7), ElementsAre("0.4", "0.2"));
  EXPECT_THAT(LeftLabels({1.0004, 1.0009}, 11), ElementsAre("1.0008", "1.0006", "1.0004"));
  EXPECT_THAT(LeftLabels({-1, 1}, 11), ElementsAre("1", "0", "-1"));
  EXPECT_THAT(LeftLabels({0, 4e9}, 11), ElementsAre("4.00e+09", "2.00e+09", "0.00e+00"));
  EXPECT_THAT(LeftLabels({0, 0}, 11), ElementsAre("1", "0", "-1"));
  EXPECT_THAT(LeftLabels({2, 2}, 11), ElementsAre("2.2", "2.0", "1.8"));
}

TEST(Plot, StepsHaveNoHalves) {
  const Lines lines = Render({Line({1, 2, 3})}, 120, 10, false);
  EXPECT_THAT(lines.back(), HasSubstr(" 2 "));
  EXPECT_EQ(lines.back().find('.'), std::string::npos);
  EXPECT_THAT(Render({Line({7})}, 120, 10, false).back(), HasSubstr("1"));
}

TEST(Plot, TooSmallIsEmpty) {
  EXPECT_TRUE(Render({Line({1, 2})}, 14, 10, true).empty());
  EXPECT_FALSE(Render({Line({1, 2})}, 15, 10, true).empty());
  EXPECT_TRUE(Render({Line({1, 2})}, 80, 5, true).empty());
  EXPECT_FALSE(Render({Line({1, 2})}, 80, 6, true).empty());
}

TEST(Plot, AnySizeAndValueStaysInside) {
  std::mt19937 random(7);
  const double inf = std::numeric_limits<double>::infinity();
  const std::vector<double> odd = {0, -0.0, 1e300, -1e300, 9e299, 1e-320, inf, std::nan(""), 1, 2};
  for (int columns = 1; columns < 150; columns += 7) {
    for (int rows = 1; rows < 60; rows += 3) {
      for (const size_t count : {1, 2, 50, 300}) {
        for (const bool wild : {false, true}) {
          std::vector<double> values(count);
          for (double& value : values)
            value = wild ? odd[random() % odd.size()] : static_cast<double>(random() % 1000) / 100;
          for (const bool unicode : {true, false}) {
            const Lines lines =
                Render({Line(values), Of(Form::kMarks, {{1, 3}})}, columns, rows, unicode);
            EXPECT_TRUE(lines.empty() || lines.size() == static_cast<size_t>(rows));
            for (const std::string& line : lines) EXPECT_LE(DisplayWidth(line), columns);
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace ftd
