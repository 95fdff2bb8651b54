// What the fuzz targets hold every reader to.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string>

#include "lib/base/utf8.h"
#include "lib/data/row_shape.h"
#include "lib/data/rows/row_reader.h"
#include "nlohmann/json.hpp"

namespace ftd {

inline void Require(bool holds) {
  if (!holds) std::abort();
}

// Lists and objects that are kept are JSON in UTF-8.
inline void RequireGoodCells(const Row& row) {
  for (const Cell& cell : row.cells) {
    if (cell.kind != Cell::Kind::kNested || cell.text.empty()) continue;
    Require(IsValidUtf8(cell.text) && nlohmann::json::accept(cell.text));
  }
}

// Reads and renders every row: places count up, messages are UTF-8 of bounded length, and a text
// that is given out is UTF-8.
inline void ReadAll(RowReader& reader) {
  const RowRenderer renderer({});
  Row row;
  int64_t last = 0;
  while (true) {
    const auto found = reader.Next(&row);
    if (!found.ok()) Require(IsValidUtf8(std::string(found.status().message())));
    if (!found.ok() || !*found) return;
    Require(row.number > last);
    last = row.number;
    if (row.problem.ok()) RequireGoodCells(row);
    const auto example = row.problem.ok() ? renderer.Render(row) : row.problem;
    if (example.ok()) {
      Require(IsValidUtf8(example->text) && example->completion_begin <= example->text.size());
    } else {
      const std::string message(example.status().message());
      Require(!message.empty() && message.size() < 4096 && IsValidUtf8(message));
    }
  }
}

}  // namespace ftd
