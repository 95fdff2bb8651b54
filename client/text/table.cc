#include "client/text/table.h"

#include <algorithm>

#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "client/text/text.h"

namespace ftd {

// Columns are as wide as their widest cell in terminal columns, not bytes. No trailing blanks.
std::string Table(const std::vector<std::string>& head,
                  const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::vector<std::string>> lines = {head};
  lines.insert(lines.end(), rows.begin(), rows.end());
  std::vector<int> widths(head.size(), 0);
  for (auto& line : lines) {
    for (size_t i = 0; i < line.size(); ++i) {
      line[i] = Printable(line[i]);
      widths[i] = std::max(widths[i], DisplayWidth(line[i]));
    }
  }
  std::string out;
  for (const auto& line : lines) {
    std::string text;
    for (size_t i = 0; i < line.size(); ++i) text += PadRight(line[i], widths[i]) + "  ";
    out.append(text, 0, text.find_last_not_of(' ') + 1);
    out += '\n';
  }
  return out;
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
