#include "lib/data/rows/row.h"

#include <algorithm>

#include "lib/base/utf8.h"

namespace ftd {
namespace {

constexpr size_t kNamesShown = 12, kNameBytesShown = 60;

}  // namespace

std::string QuotedName(std::string_view name) {
  const bool cut = name.size() > kNameBytesShown;
  return Concat("\"", RepairUtf8(name.substr(0, kNameBytesShown)), cut ? "…\"" : "\"");
}

// Both are for messages: a row may have hundreds of columns, and names that are not UTF-8.
std::string ColumnNames(const Row& row) {
  if (row.cells.empty()) return "none";
  std::string names;
  for (size_t i = 0; i < std::min(row.cells.size(), kNamesShown); ++i)
    names += Concat(i == 0 ? "" : ", ", QuotedName(row.cells[i].name));
  if (row.cells.size() > kNamesShown)
    names += Concat(" and ", row.cells.size() - kNamesShown, " more");
  return names;
}

}  // namespace ftd
