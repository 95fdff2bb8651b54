#include "lib/data/row_blocks.h"

#include <algorithm>
#include <deque>
#include <map>
#include <numeric>

#include "lib/base/error.h"

namespace ftd {
namespace {

constexpr int64_t kGroup = 1000;  // the batches of datasets' map, one by one of which TRL packs

// Packs the rows [begin, begin + lengths.size()).
void PackGroup(const std::vector<int64_t>& lengths, int64_t begin, int64_t tokens,
               std::vector<std::vector<int64_t>>* blocks) {
  std::vector<size_t> order(lengths.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return lengths[a] > lengths[b]; });
  // By the room that is left, the blocks in the order in which they came to it.
  std::map<int64_t, std::deque<size_t>> open;
  for (const size_t row : order) {
    const int64_t length = lengths[row];
    const auto fits = open.lower_bound(length);
    size_t block = blocks->size();
    int64_t room = tokens;
    if (fits == open.end()) {
      blocks->emplace_back();
    } else {
      room = fits->first;
      block = fits->second.front();
      fits->second.pop_front();
      if (fits->second.empty()) open.erase(fits);
    }
    (*blocks)[block].push_back(begin + static_cast<int64_t>(row));
    if (room > length) open[room - length].push_back(block);
  }
}

}  // namespace

RowBlocks::RowBlocks(const std::vector<std::vector<int64_t>>& blocks) {
  for (const std::vector<int64_t>& block : blocks) {
    rows_.insert(rows_.end(), block.begin(), block.end());
    begins_.push_back(static_cast<int64_t>(rows_.size()));
  }
}

absl::StatusOr<RowBlocks> PackRows(const RowSource& rows, int64_t tokens) {
  std::vector<std::vector<int64_t>> blocks;
  std::vector<int64_t> lengths;
  for (int64_t begin = 0; begin < rows.size(); begin += kGroup) {
    lengths.clear();
    for (int64_t row = begin; row < std::min(rows.size(), begin + kGroup); ++row) {
      FTD_ASSIGN_OR_RETURN(const RowLength length, rows.Length(row));
      lengths.push_back(length.tokens);
    }
    PackGroup(lengths, begin, tokens, &blocks);
  }
  return RowBlocks(blocks);
}

std::vector<int64_t> FillInOrder(std::span<const int64_t> order, std::span<const int32_t> lengths,
                                 int64_t tokens) {
  std::vector<int64_t> cuts = {0};
  int64_t filled = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    const int64_t length = lengths[static_cast<size_t>(order[i])];
    if (filled + length > tokens) {
      cuts.push_back(static_cast<int64_t>(i));
      filled = 0;
    }
    filled += length;
  }
  cuts.push_back(static_cast<int64_t>(order.size()));
  return cuts;
}

}  // namespace ftd
