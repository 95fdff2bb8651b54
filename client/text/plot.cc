#include "client/text/plot.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/text/text.h"
#include "lib/base/utf8.h"

namespace ftd {
namespace {

constexpr double kGap = std::numeric_limits<double>::quiet_NaN();

// Returns the mean of the finite values of [first, last).
double Mean(const std::vector<double>& values, size_t first, size_t last) {
  double sum = 0;
  int count = 0;
  for (size_t i = first; i < last; ++i) {
    if (!std::isfinite(values[i])) continue;
    sum += values[i];
    ++count;
  }
  return count == 0 ? kGap : sum / count;
}

// Returns one value for each of `dots` columns of dots: means where there are more values than
// dots, else points on the lines between values.
std::vector<double> Resample(const std::vector<double>& values, int dots) {
  const size_t n = values.size();
  std::vector<double> out(dots, kGap);
  for (int x = 0; x < dots; ++x) {
    if (n >= static_cast<size_t>(dots)) {
      out[x] = Mean(values, n * x / dots, n * (x + 1) / dots);
    } else if (n == 1) {
      if (x == 0) out[x] = Mean(values, 0, 1);
    } else if (n > 1) {
      const double at = static_cast<double>(x) * static_cast<double>(n - 1) / std::max(1, dots - 1);
      const auto left = std::min(static_cast<size_t>(at), n - 2);
      const double share = at - static_cast<double>(left);
      out[x] = values[left] * (1 - share) + values[left + 1] * share;
    }
  }
  return out;
}

// (∞, −∞) if no value is finite.
std::pair<double, double> Range(const std::vector<double>& values) {
  double low = std::numeric_limits<double>::infinity();
  double high = -low;
  for (const double value : values) {
    if (!std::isfinite(value)) continue;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  return {low, high};
}

// Holds dots, set or not, as lines of cells. A cell is a Braille character of 2 × 4 dots, or one
// "*".
class Canvas {
 public:
  Canvas(int columns, int rows, bool unicode)
      : columns_(columns),
        rows_(rows),
        unicode_(unicode),
        cells_(static_cast<size_t>(columns) * rows, 0) {}

  int width() const { return columns_ * (unicode_ ? 2 : 1); }
  int height() const { return rows_ * (unicode_ ? 4 : 1); }

  void Set(int x, int y) {
    // The bits of U+2800's dots: 1, 2, 3, 7 in the left column, 4, 5, 6, 8 in the right.
    constexpr uint8_t kDots[4][2] = {{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
    if (unicode_) {
      cells_[static_cast<size_t>(y / 4) * columns_ + x / 2] |= kDots[y % 4][x % 2];
    } else {
      cells_[static_cast<size_t>(y) * columns_ + x] = 1;
    }
  }

  std::vector<std::string> Lines() const {
    std::vector<std::string> lines(rows_);
    for (size_t i = 0; i < cells_.size(); ++i) lines[i / columns_] += Cell(cells_[i]);
    return lines;
  }

 private:
  // Returns U+2800 plus the dots' bits.
  std::string Cell(uint8_t bits) const {
    if (bits == 0) return " ";
    if (!unicode_) return "*";
    std::string cell;
    AppendUtf8(0x2800u | bits, &cell);
    return cell;
  }

  int columns_;
  int rows_;
  bool unicode_;
  std::vector<uint8_t> cells_;
};

}  // namespace

// Neighbouring points are joined, so that the curve has no holes where it is steep.
std::vector<std::string> PlotLine(const std::vector<double>& values, int columns, int rows,
                                  bool unicode) {
  Canvas canvas(columns, rows, unicode);
  const std::vector<double> points = Resample(values, canvas.width());
  const auto [low, high] = Range(values);
  int last = -1;
  for (int x = 0; x < canvas.width(); ++x) {
    if (!std::isfinite(points[x])) {
      last = -1;
      continue;
    }
    // Row 0 is the top. A flat line is in the middle.
    const double share = high > low ? (high - points[x]) / (high - low) : 0.5;
    const int y = static_cast<int>(std::lround(share * (canvas.height() - 1)));
    // A steep line is drawn down the column that it ends in.
    const int from = last < 0 || last == y ? y : last + (y > last ? 1 : -1);
    for (int dot = std::min(from, y); dot <= std::max(from, y); ++dot) canvas.Set(x, dot);
    last = y;
  }
  return canvas.Lines();
}

// Labels of the highest and the lowest value on the left, of the first and the last step below.
std::vector<std::string> PlotWithAxes(const std::vector<double>& values, int64_t first_step,
                                      int64_t last_step, int columns, int rows, bool unicode) {
  const auto [low, high] = Range(values);
  if (columns < 16 || rows < 3 || !std::isfinite(low)) return {};
  const std::string top = absl::StrCat(Fixed(high, 3), " ");
  const std::string bottom = absl::StrCat(Fixed(low, 3), " ");
  const int margin = static_cast<int>(std::max(top.size(), bottom.size()));
  const int width = columns - margin - 1;
  if (width < 4) return {};
  std::vector<std::string> lines = PlotLine(values, width, rows - 1, unicode);
  for (size_t i = 0; i < lines.size(); ++i) {
    const std::string label = i == 0 ? top : i + 1 == lines.size() ? bottom : "";
    const bool tick = !label.empty();
    const char* axis = unicode ? (tick ? "┤" : "│") : (tick ? "+" : "|");
    lines[i] = absl::StrCat(std::string(margin - label.size(), ' '), label, axis, lines[i]);
  }
  const std::string first = absl::StrCat("step ", first_step);
  const std::string last = absl::StrCat(last_step);
  const int gap = width - static_cast<int>(first.size() + last.size());
  lines.push_back(absl::StrCat(std::string(margin + 1, ' '), first,
                               gap > 0 ? std::string(gap, ' ') + last : ""));
  return lines;
}

}  // namespace ftd
