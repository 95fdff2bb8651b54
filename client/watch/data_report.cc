#include "client/watch/data_report.h"

#include <iostream>
#include <limits>

#include "client/text/data_text.h"
#include "client/text/table.h"
#include "client/watch/terminal.h"

namespace ftd {
namespace {

constexpr int kUncut = std::numeric_limits<int>::max();

}  // namespace

void PrintDataReport(const ftd::v1::DataReport& report) {
  const ScreenStyle style = StdoutStyle();
  const auto print = [&](const std::vector<StyledLine>& lines, int columns) {
    for (const StyledLine& line : lines)
      std::cout << line.Render(columns, style.color, style.unicode) << "\n";
  };
  std::cout << KeyValues(DataSummary(report)) << "\n";
  print(LengthHistogram(report, style.columns, style.unicode), style.columns);
  const auto [open, close] = SampleMarks(style.unicode);
  std::cout << "\nThe first rows; what is learned is "
            << (style.color ? "green" : "between " + open + " and " + close) << ".\n";
  for (const auto& sample : report.samples()) {
    std::cout << "\n";
    print(SampleLines(sample, style.color, style.unicode), kUncut);
  }
  std::cout << std::flush;
}

}  // namespace ftd
