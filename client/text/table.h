// Columns of text.
#pragma once

#include <string>
#include <vector>

namespace ftd {

// A head line and rows, each column as wide as its widest cell, two blanks between, none at the end
// of a line. Cells are made Printable (text.h). Requires: every row has as many cells as `head`.
std::string Table(const std::vector<std::string>& head,
                  const std::vector<std::vector<std::string>>& rows);

// "key  value" lines with aligned values; lines whose value is empty are left out. A value of
// several lines is indented below its first.
std::string KeyValues(const std::vector<std::pair<std::string, std::string>>& lines);

}  // namespace ftd
