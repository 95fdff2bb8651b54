#include "lib/data/row_source.h"

namespace ftd {

int64_t CountLabels(const TokenizedRow& row) {
  int64_t count = 0;
  // From 1: no token predicts the first one.
  for (size_t i = 1; i < row.labels.size(); ++i) count += row.labels[i] != kIgnoreLabel;
  return count;
}

absl::StatusOr<RowLength> RowsInMemory::Length(int64_t row) const {
  const TokenizedRow& found = rows_[static_cast<size_t>(row)];
  return RowLength{static_cast<int64_t>(found.input_ids.size()), CountLabels(found)};
}

absl::StatusOr<TokenizedRow> RowsInMemory::Read(int64_t row) const {
  return rows_[static_cast<size_t>(row)];
}

}  // namespace ftd
