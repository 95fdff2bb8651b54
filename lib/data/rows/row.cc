#include "lib/data/rows/row.h"

#include <algorithm>

#include "absl/strings/str_join.h"
#include "absl/types/span.h"
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
  std::string names = absl::StrJoin(
      absl::MakeConstSpan(row.cells).first(std::min(row.cells.size(), kNamesShown)), ", ",
      [](std::string* out, const Cell& cell) { out->append(QuotedName(cell.name)); });
  if (row.cells.size() > kNamesShown)
    names += Concat(" and ", row.cells.size() - kNamesShown, " more");
  return names;
}

}  // namespace ftd
