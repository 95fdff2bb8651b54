// One row of a dataset file as its reader found it: named cells, before anything is made of them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "lib/base/concat.h"
#include "lib/base/error.h"

namespace ftd {

struct Cell {
  enum class Kind {
    kNull,     // null, or not there
    kText,     // UTF-8
    kInteger,  // `text` holds its decimal digits
    // A list or an object. Where the reader was asked to keep the column, `text` is its JSON, else
    // empty: compact, in UTF-8, members in the file's order (also those whose key comes twice),
    // numbers spelled so that nothing of them is lost.
    kNested,
    kOther,  // a number with a fraction, a truth value, …: nothing that training can use
  };
  std::string name;
  Kind kind = Kind::kNull;
  std::string text;
};

struct Row {
  std::vector<Cell> cells;  // in the file's order
  // Its place: "line" 17 where a user counts lines, else "row" 17. From 1.
  const char* unit = "row";
  int64_t number = 0;
  // Not OK: the row cannot be used, though the file can be read on. Without name and place.
  absl::Status problem;

  // The cell of that name, the last one where several have it; nullptr when there is none.
  const Cell* Find(std::string_view name) const {
    for (size_t i = cells.size(); i-- > 0;) {
      if (cells[i].name == name) return &cells[i];
    }
    return nullptr;
  }
};

// A column's name for a message: in quotes, valid UTF-8, cut where it is too long to read. A
// damaged file may have names of megabytes.
std::string QuotedName(std::string_view name);

// The names of a row's columns, for a message: "a", "b" and 3 more.
std::string ColumnNames(const Row& row);

// A row or a file is bad. INVALID_ARGUMENT DATASET_INVALID.
inline absl::Status DatasetInvalid(std::string_view message) {
  return Error(Reason::kDatasetInvalid, message);
}

}  // namespace ftd
