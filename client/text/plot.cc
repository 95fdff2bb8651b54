#include "client/text/plot.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/text/text.h"
#include "lib/base/utf8.h"

namespace ftd {
namespace {

constexpr int kFewestRows = 3, kFewestColumns = 10;  // of the plot itself

// Beyond it, differences of two values overflow.
bool CanBeDrawn(double value) { return std::abs(value) < 1e300; }

struct AxisRange {
  double low = std::numeric_limits<double>::infinity(), high = -low;

  void Add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  double size() const { return high - low; }
};

// A range that would be a point, or so narrow that its ticks had a dozen digits, is widened: the
// line is in the middle then.
AxisRange WithRoom(AxisRange range) {
  const double largest = std::max(std::abs(range.low), std::abs(range.high));
  constexpr double kSmallest = 1e-300;  // so that no tick is 0 for want of bits
  if (range.size() > std::max(1e-6 * largest, kSmallest)) return range;
  const double room = largest < kSmallest ? 1 : 0.1 * largest;
  return {range.low - room, range.high + room};
}

struct Step {
  int digit = 1;     // 1, 2 or 5
  int exponent = 0;  // of ten

  double size() const { return digit * std::pow(10, exponent); }
  Step Smaller() const {
    if (digit == 5) return {2, exponent};
    if (digit == 2) return {1, exponent};
    return {5, exponent - 1};
  }
};

// Returns the smallest round step of at least `size`.
Step RoundStep(double size) {
  Step step = {1, static_cast<int>(std::floor(std::log10(size))) + 1};
  while (step.Smaller().size() >= size * (1 - 1e-9)) step = step.Smaller();
  return step;
}

struct Ticks {
  Step step;
  std::vector<double> values;
};

Ticks TicksAt(const AxisRange& range, const Step& step) {
  Ticks ticks = {step, {}};
  // Whole multiples, for a sum of steps would drift. The slack admits a limit that is a multiple.
  const double first = std::ceil(range.low / step.size() - 1e-9);
  const double last = std::floor(range.high / step.size() + 1e-9);
  const int count = static_cast<int>(last - first) + 1;
  for (int i = 0; i < count; ++i) ticks.values.push_back((first + i) * step.size() + 0.0);
  return ticks;
}

// About `most` round values within the range, and two at least if they need not be closer than
// `least`.
Ticks RoundTicks(const AxisRange& range, int most, double least) {
  Step step = RoundStep(std::max(least, range.size() / most));
  Ticks ticks = TicksAt(range, step);
  while (ticks.values.size() < 2 && step.Smaller().size() >= least)
    ticks = TicksAt(range, step = step.Smaller());
  return ticks;
}

std::string TickLabel(double value, const Ticks& ticks) {
  const double largest = std::max(std::abs(ticks.values.front()), std::abs(ticks.values.back()));
  if (largest >= 1e7 || ticks.step.exponent < -6) return Scientific(value, 2);
  return Fixed(value, std::max(0, -ticks.step.exponent));
}

// A form in the legend, and what a cell of it holds at first: U+2800 is Braille without a dot.
struct Sign {
  const char* legend;
  uint32_t cell;
};

Sign SignOf(PlotSeries::Form form, bool unicode) {
  switch (form) {
    case PlotSeries::Form::kDots:
      return unicode ? Sign{"·", 0x2800} : Sign{".", '.'};
    case PlotSeries::Form::kLine:
      return unicode ? Sign{"─", 0x2800} : Sign{"*", '*'};
    case PlotSeries::Form::kMarks:
      return unicode ? Sign{"●", 0x25CF} : Sign{"o", 'o'};
  }
  return {};
}

// Holds what is drawn, as lines of cells.
class Canvas {
 public:
  Canvas(int columns, int rows, bool unicode)
      : columns_(columns), rows_(rows), unicode_(unicode), cells_(Index(0, rows)) {}

  // In dots.
  int width() const { return columns_ * (unicode_ ? 2 : 1); }
  int height() const { return rows_ * (unicode_ ? 4 : 1); }
  int RowOf(int y) const { return y / (unicode_ ? 4 : 1); }
  int ColumnOf(int x) const { return x / (unicode_ ? 2 : 1); }

  // What follows covers what is there.
  void Begin(PlotSeries::Form form, Ink ink) {
    form_ = form;
    ink_ = ink;
    ++layer_;
  }

  void Set(int x, int y) {
    // The bits of its dots: 1, 2, 3, 7 in the left column, 4, 5, 6, 8 in the right.
    constexpr uint8_t kDots[4][2] = {{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
    Cell& cell = cells_[Index(ColumnOf(x), RowOf(y))];
    if (cell.layer != layer_) cell = {layer_, ink_, SignOf(form_, unicode_).cell};
    if (unicode_ && form_ != PlotSeries::Form::kMarks)
      cell.glyph = 0x2800u | (cell.glyph & 0xFFu) | kDots[y % 4][x % 2];
  }

  // Adds a row, as pieces of one ink each.
  void AddRow(int row, StyledLine* line) const {
    std::string piece;
    Ink ink = Ink::kPlain;
    for (int column = 0; column < columns_; ++column) {
      const Cell& cell = cells_[Index(column, row)];
      if (cell.glyph != ' ' && cell.ink != ink) {
        line->Add(ink, std::exchange(piece, {}));
        ink = cell.ink;
      }
      AppendUtf8(cell.glyph, &piece);
    }
    line->Add(ink, piece);
  }

 private:
  struct Cell {
    int layer = 0;
    Ink ink = Ink::kPlain;
    uint32_t glyph = ' ';
  };

  size_t Index(int column, int row) const {
    return static_cast<size_t>(row) * columns_ + static_cast<size_t>(column);
  }

  int columns_;
  int rows_;
  bool unicode_;
  std::vector<Cell> cells_;
  PlotSeries::Form form_ = PlotSeries::Form::kDots;
  Ink ink_ = Ink::kPlain;
  int layer_ = 0;
};

// Where values are on a canvas.
struct Scale {
  AxisRange x, y;
  int width = 0, height = 0;

  int X(double value) const { return At((value - x.low) / x.size(), width); }
  // Row 0 is the top.
  int Y(double value) const { return At((y.high - value) / y.size(), height); }

 private:
  static int At(double share, int dots) {
    return static_cast<int>(std::lround(std::clamp(share, 0.0, 1.0) * (dots - 1)));
  }
};

// One for each column of dots that has values: the mean of those that are finite.
struct ColumnMean {
  int x = 0;
  std::optional<double> y;
};

std::vector<ColumnMean> Means(const PlotSeries& series, const Scale& scale) {
  std::vector<ColumnMean> means;
  double sum = 0;
  int count = 0;
  for (const PlotPoint& point : series.points) {
    const int x = scale.X(point.x);
    if (means.empty() || means.back().x != x) {
      means.push_back({x, {}});
      sum = count = 0;
    }
    if (!CanBeDrawn(point.y)) continue;
    sum += point.y;
    means.back().y = sum / ++count;
  }
  return means;
}

// Neighbours are joined, so that the line has no holes where it is steep or points are far apart.
void DrawLine(const PlotSeries& series, const Scale& scale, Canvas* canvas) {
  const std::vector<ColumnMean> means = Means(series, scale);
  for (size_t i = 0; i < means.size(); ++i) {
    if (!means[i].y) continue;
    const int x = means[i].x, y = scale.Y(*means[i].y);
    canvas->Set(x, y);
    if (i == 0 || !means[i - 1].y) continue;
    const ColumnMean& last = means[i - 1];
    int previous = scale.Y(*last.y);
    for (int at = last.x + 1; at <= x; ++at) {
      const double share = static_cast<double>(at - last.x) / (x - last.x);
      const int here = scale.Y(*last.y + share * (*means[i].y - *last.y));
      // A steep line is drawn down the column that it ends in.
      const int from = here == previous ? here : previous + (here > previous ? 1 : -1);
      for (int dot = std::min(from, here); dot <= std::max(from, here); ++dot) canvas->Set(at, dot);
      previous = here;
    }
  }
}

void Draw(const PlotSeries& series, const Scale& scale, Canvas* canvas) {
  canvas->Begin(series.form, series.ink);
  if (series.form == PlotSeries::Form::kLine) return DrawLine(series, scale, canvas);
  for (const PlotPoint& point : series.points)
    if (CanBeDrawn(point.y)) canvas->Set(scale.X(point.x), scale.Y(point.y));
}

StyledLine Legend(const std::vector<PlotSeries>& series, int margin, bool unicode) {
  StyledLine line;
  line.Add(std::string(margin + 1, ' '));
  for (const PlotSeries& one : series) {
    if (one.points.empty()) continue;
    if (line.width() > margin + 1) line.Add("   ");
    line.Add(one.ink, SignOf(one.form, unicode).legend);
    line.Add(Ink::kDim, absl::StrCat(" ", one.name));
  }
  return line;
}

// The axis of x, and the labels below it, each under its tick.
std::vector<StyledLine> XAxis(const Scale& scale, const Canvas& canvas, const std::string& name,
                              int margin, int width, bool unicode) {
  constexpr int kColumnsOfATick = 10;
  std::vector<std::string> axis(width, unicode ? "─" : "-");
  std::string labels;
  const Ticks ticks = RoundTicks(scale.x, std::max(1, width / kColumnsOfATick), 1);
  for (const double value : ticks.values) {
    const int column = canvas.ColumnOf(scale.X(value));
    const std::string label = Fixed(value, 0);
    const int size = static_cast<int>(label.size());
    const int start = std::clamp(column - size / 2, 0, std::max(0, width - size));
    // The next one would touch the one before.
    if (!labels.empty() && start < static_cast<int>(labels.size()) + 2) continue;
    if (size > width) continue;
    axis[column] = unicode ? "┬" : "+";
    labels.append(start - labels.size(), ' ');
    labels += label;
  }
  std::vector<StyledLine> lines(2);
  lines[0].Add(Ink::kDim, absl::StrCat(std::string(margin, ' '), unicode ? "└" : "+",
                                       absl::StrJoin(axis, "")));
  lines[1].Add(Ink::kDim, absl::StrCat(std::string(margin - name.size(), ' '), name, " ", labels));
  return lines;
}

}  // namespace

std::vector<StyledLine> Plot(const std::vector<PlotSeries>& series, const std::string& x_name,
                             int columns, int rows, bool unicode) {
  constexpr int kRowsOfATick = 3;
  const int plot_rows = rows - 3;  // besides the legend, the axis and its labels
  AxisRange x, y;
  for (const PlotSeries& one : series) {
    for (const PlotPoint& point : one.points) {
      if (!CanBeDrawn(point.y)) continue;
      x.Add(point.x);
      y.Add(point.y);
    }
  }
  if (plot_rows < kFewestRows || x.low > x.high) return {};
  if (x.low == x.high) x.high += 1;
  y = WithRoom(y);
  const Ticks ticks = RoundTicks(y, std::max(2, plot_rows / kRowsOfATick), 0);
  auto margin = static_cast<int>(x_name.size());
  for (const double value : ticks.values)
    margin = std::max(margin, 1 + static_cast<int>(TickLabel(value, ticks).size()));
  const int width = columns - margin - 1;
  if (width < kFewestColumns) return {};

  Canvas canvas(width, plot_rows, unicode);
  const Scale scale = {x, y, canvas.width(), canvas.height()};
  for (const PlotSeries& one : series) Draw(one, scale, &canvas);
  std::vector<std::string> labels(plot_rows);
  for (const double value : ticks.values)
    labels[canvas.RowOf(scale.Y(value))] = absl::StrCat(TickLabel(value, ticks), " ");

  std::vector<StyledLine> lines = {Legend(series, margin, unicode)};
  for (int row = 0; row < plot_rows; ++row) {
    const std::string& label = labels[row];
    const char* axis = unicode ? (label.empty() ? "│" : "┤") : (label.empty() ? "|" : "+");
    StyledLine& line = lines.emplace_back();
    line.Add(Ink::kDim, absl::StrCat(std::string(margin - label.size(), ' '), label, axis));
    canvas.AddRow(row, &line);
  }
  for (StyledLine& line : XAxis(scale, canvas, x_name, margin, width, unicode))
    lines.push_back(std::move(line));
  return lines;
}

}  // namespace ftd
