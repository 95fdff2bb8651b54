// Columns of text.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace ftd {

// A table that is printed piece by piece. A column is as wide as its widest cell so far.
class GrowingTable {
 public:
  explicit GrowingTable(std::vector<std::string> head) : head_(std::move(head)) {}
  // Returns these rows as lines, with the head before the first ones. Requires: every row has as
  // many cells as the head.
  std::string Lines(std::vector<std::vector<std::string>> rows);

 private:
  std::vector<std::string> head_;  // empty once it is given out
  std::vector<int> widths_;
};

// A head line and rows, each column as wide as its widest cell, two blanks between, none at the end
// of a line. Cells are made Printable (text.h). Requires: every row has as many cells as `head`.
std::string Table(const std::vector<std::string>& head,
                  const std::vector<std::vector<std::string>>& rows);

// "key  value" lines with aligned values; lines whose value is empty are left out. A value of
// several lines is indented below its first.
std::string KeyValues(const std::vector<std::pair<std::string, std::string>>& lines);

}  // namespace ftd
