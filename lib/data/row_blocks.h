// Rows joined into blocks of so many tokens, so that micro-batches are equally full whatever the
// rows' lengths.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/data/row_source.h"

namespace ftd {

// Each block is some of the rows, in an order of its own; each row is in one block.
class RowBlocks {
 public:
  RowBlocks() = default;
  explicit RowBlocks(const std::vector<std::vector<int64_t>>& blocks);

  int64_t size() const { return static_cast<int64_t>(begins_.size()) - 1; }
  // Requires: 0 ≤ block < size().
  std::span<const int64_t> operator[](int64_t block) const {
    const auto at = static_cast<size_t>(block);
    return {rows_.data() + begins_[at], rows_.data() + begins_[at + 1]};
  }

 private:
  std::vector<int64_t> rows_, begins_ = {0};
};

// Best-fit decreasing, as TRL packs with packing_strategy="bfd": of each 1000 rows the longest
// first, into the block with the least room that holds it, at most `tokens` a block. The blocks and
// the rows within are in TRL's order. Requires: no row is longer than `tokens`. Errors: those of
// Length.
absl::StatusOr<RowBlocks> PackRows(const RowSource& rows, int64_t tokens);

// Next-fit: cuts `order`, which has row numbers, where the next row would make the rows since the
// last cut longer than `tokens`. Returns the cuts as places in `order`, its beginning and its end
// among them. `lengths` has each row's tokens, by its number. Requires: `order` is not empty, and
// no row is longer than `tokens`.
std::vector<int64_t> FillInOrder(std::span<const int64_t> order, std::span<const int32_t> lengths,
                                 int64_t tokens);

}  // namespace ftd
