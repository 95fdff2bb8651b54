// Sets of Unicode code points as tables of ranges.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace ftd {

struct CodePointRange {
  uint32_t first, last;
};

// Whether a table, whose ranges are sorted and disjoint, has the code point.
inline bool IsIn(const CodePointRange* table, size_t size, uint32_t point) {
  const CodePointRange* after =
      std::upper_bound(table, table + size, point,
                       [](uint32_t p, const CodePointRange& range) { return p < range.first; });
  return after != table && (after - 1)->last >= point;
}

}  // namespace ftd
