#include "client/text/data_text.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/text/plan_text.h"
#include "client/text/text.h"

namespace ftd {
namespace {

using ftd::v1::DataReport;

std::string Percent(int64_t part, int64_t all) {
  const double share = all == 0 ? 0 : static_cast<double>(part) / static_cast<double>(all);
  return absl::StrCat(Fixed(100 * share, 1), "%");
}

// "3 of 40 rows (7.5%)"
std::string RowCount(int64_t rows, int64_t all) {
  return rows == 0 ? "" : absl::StrCat(rows, " of ", all, " rows (", Percent(rows, all), ")");
}

std::string RowsText(const DataReport& report) {
  std::string text = absl::StrCat(report.rows_kept(), " of ", report.rows_read());
  if (report.rows_eval() > 0) absl::StrAppend(&text, ", ", report.rows_eval(), " to evaluate on");
  return text;
}

// Why rows were left out; empty when none were.
std::string DroppedText(const DataReport& report) {
  std::vector<std::string> reasons;
  const int64_t by_cut = report.rows_dropped_by_cut(), others = report.rows_dropped() - by_cut;
  if (by_cut > 0) reasons.push_back(absl::StrCat(by_cut, " lost all that is learned to the cut"));
  if (others > 0) reasons.push_back(absl::StrCat(others, " have nothing to learn"));
  return absl::StrJoin(reasons, ", ");
}

std::string CutText(const DataReport& report) {
  if (report.rows_cut() == 0) return "";
  std::string text = RowCount(report.rows_cut(), report.rows_read());
  if (report.tokens_cut() > 0) absl::StrAppend(&text, ", ", report.tokens_cut(), " tokens lost");
  if (report.rows_without_completion() > 0)
    absl::StrAppend(&text, ", ", report.rows_without_completion(), " lost the whole completion");
  return text;
}

std::string SkippedText(const DataReport& report) {
  if (report.rows_skipped() == 0) return "";
  return absl::StrCat(report.rows_skipped(), " bad, for example:\n",
                      absl::StrJoin(report.skipped_reasons(), "\n"));
}

// "0-49", or "2049-5210" for the last one.
std::string BinLabel(const DataReport::LengthBin& bin) {
  return bin.from_tokens() == bin.to_tokens()
             ? absl::StrCat(bin.from_tokens())
             : absl::StrCat(bin.from_tokens(), "-", bin.to_tokens());
}

// A bar of `share` of `columns`, rounded. A share above 0 is always seen.
std::string BarOfShare(double share, int columns, bool unicode) {
  const int least = unicode ? 1 : 8;  // eighths of a column that can be drawn
  const auto eighths = static_cast<int>(std::lround(share * columns * 8 / least)) * least;
  return Bar(share > 0 ? std::max(eighths, least) : 0, unicode);
}

}  // namespace

std::vector<std::pair<std::string, std::string>> DataSummary(const DataReport& report) {
  std::vector<std::pair<std::string, std::string>> summary = {
      {"rows", RowsText(report)},
      {"left out", DroppedText(report)},
      {"skipped", SkippedText(report)},
      {"cut", CutText(report)},
      {"empty", RowCount(report.rows_empty(), report.rows_read())},
      {"duplicates", RowCount(report.rows_duplicate(), report.rows_kept())},
      {"tokens", absl::StrCat(report.tokens_per_epoch(), " in an epoch; ",
                              Percent(report.tokens_learned(), report.tokens()), " of ",
                              report.tokens(), " are learned")},
      {"lengths", absl::StrCat("half of the rows have at most ", report.length_median(),
                               " tokens, 90% ", report.length_p90(), ", 99% ", report.length_p99(),
                               ", the longest ", report.length_longest())}};
  if (report.has_plan()) {
    for (auto& line : PlanSummary(report.plan())) summary.push_back(std::move(line));
  }
  return summary;
}

std::vector<StyledLine> LengthHistogram(const DataReport& report, int columns, bool unicode) {
  constexpr int kLeastBar = 10;
  int64_t most = 0;
  int labels = 0, counts = 0;
  for (const DataReport::LengthBin& bin : report.length_histogram()) {
    most = std::max(most, bin.rows());
    labels = std::max(labels, DisplayWidth(BinLabel(bin)));
    counts = std::max(counts, DisplayWidth(absl::StrCat(bin.rows(), bin.cut() ? " cut" : "")));
  }
  if (most == 0) return {};
  const std::string head = "tokens";
  labels = std::max(labels, DisplayWidth(head));
  const int room = std::max(kLeastBar, columns - labels - counts - 2);
  std::vector<StyledLine> lines;
  const auto label = [&](const std::string& text) {
    return absl::StrCat(std::string(labels - DisplayWidth(text), ' '), text, " ");
  };
  lines.emplace_back().Add(Ink::kDim, label(head) + "rows");
  for (const DataReport::LengthBin& bin : report.length_histogram()) {
    StyledLine& line = lines.emplace_back();
    const double share = static_cast<double>(bin.rows()) / static_cast<double>(most);
    line.Add(Ink::kDim, label(BinLabel(bin)));
    if (bin.rows() > 0) {
      line.Add(bin.cut() ? Ink::kWarn : Ink::kAccent, BarOfShare(share, room, unicode));
      line.Add(" ");
    }
    line.Add(absl::StrCat(bin.rows(), bin.cut() ? " cut" : ""));
  }
  return lines;
}

std::pair<std::string, std::string> SampleMarks(bool unicode) {
  return unicode ? std::make_pair("⟦", "⟧") : std::make_pair("[[", "]]");
}

std::vector<StyledLine> SampleLines(const DataReport::Sample& sample, bool color, bool unicode) {
  std::vector<StyledLine> lines;
  lines.emplace_back().Add(Ink::kBold,
                           absl::StrCat("row ", sample.row(), ": ", sample.tokens(), " tokens, ",
                                        sample.tokens_learned(), " learned",
                                        sample.shortened() ? ", shortened here" : ""));
  lines.emplace_back();
  const auto [open, close] = SampleMarks(unicode);
  for (const DataReport::Sample::Part& part : sample.parts()) {
    const Ink ink = part.learned() ? Ink::kGood : Ink::kPlain;
    const bool marked = part.learned() && !color;
    if (marked) lines.back().Add(open);
    const std::vector<std::string> texts = absl::StrSplit(part.text(), '\n');
    for (size_t i = 0; i < texts.size(); ++i) {
      if (i > 0) lines.emplace_back();
      lines.back().Add(ink, texts[i]);
    }
    if (marked) lines.back().Add(close);
  }
  return lines;
}

}  // namespace ftd
