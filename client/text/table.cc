#include "client/text/table.h"

#include <algorithm>

#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "client/text/text.h"

namespace ftd {

// Widths count terminal columns, not bytes. No trailing blanks.
std::string GrowingTable::Lines(std::vector<std::vector<std::string>> rows) {
  if (widths_.empty()) {
    widths_.resize(head_.size(), 0);
    rows.insert(rows.begin(), std::move(head_));
  }
  for (auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      row[i] = Printable(row[i]);
      widths_[i] = std::max(widths_[i], DisplayWidth(row[i]));
    }
  }
  std::string out;
  for (const auto& row : rows) {
    std::string text;
    for (size_t i = 0; i < row.size(); ++i) text += PadRight(row[i], widths_[i]) + "  ";
    out.append(text, 0, text.find_last_not_of(' ') + 1);
    out += '\n';
  }
  return out;
}

std::string Table(const std::vector<std::string>& head,
                  const std::vector<std::vector<std::string>>& rows) {
  return GrowingTable(head).Lines(rows);
}

// Lines without a value are left out; further lines of a value are indented below it.
std::string KeyValues(const std::vector<std::pair<std::string, std::string>>& lines) {
  int width = 0;
  for (const auto& [key, value] : lines) {
    if (!value.empty()) width = std::max(width, DisplayWidth(key));
  }
  std::string out;
  for (const auto& [key, value] : lines) {
    if (value.empty()) continue;
    const std::string indent = "\n" + std::string(width + 2, ' ');
    out += PadRight(key, width + 2) + absl::StrReplaceAll(PrintableLines(value), {{"\n", indent}}) +
           "\n";
  }
  return out;
}

}  // namespace ftd
