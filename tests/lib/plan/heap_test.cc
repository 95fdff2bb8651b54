#include "lib/plan/heap.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <vector>

namespace ftd {
namespace {

// The line byte by byte: where is a gap, and how long is it?
class Line {
 public:
  int64_t Place(int64_t bytes) {
    int64_t best = static_cast<int64_t>(taken_.size()), least = 0;
    for (size_t begin = 0; begin < taken_.size();) {
      size_t end = begin;
      while (end < taken_.size() && taken_[end] == taken_[begin]) ++end;
      const auto gap = static_cast<int64_t>(end - begin);
      if (!taken_[begin] && gap >= bytes && (least == 0 || gap < least)) {
        best = static_cast<int64_t>(begin);
        least = gap;
      }
      begin = end;
    }
    if (least == 0) taken_.resize(taken_.size() + static_cast<size_t>(bytes));
    std::fill_n(taken_.begin() + best, bytes, true);
    return best;
  }
  void Free(int64_t begin, int64_t bytes) {
    std::fill_n(taken_.begin() + begin, bytes, false);
    while (!taken_.empty() && !taken_.back()) taken_.pop_back();
  }
  int64_t end() const { return static_cast<int64_t>(taken_.size()); }

 private:
  std::vector<bool> taken_;
};

TEST(HeapTest, PlacesAsALineThatIsSearchedByteByByteDoes) {
  std::mt19937 random(1);
  for (int round = 0; round < 50; ++round) {
    Heap heap;
    Line line;
    std::map<int64_t, int64_t> blocks;
    int64_t furthest = 0;
    for (int i = 0; i < 300; ++i) {
      if (!blocks.empty() && random() % 5 < 2) {
        const auto block =
            std::next(blocks.begin(), static_cast<int64_t>(random() % blocks.size()));
        heap.Free(block->first, block->second);
        line.Free(block->first, block->second);
        blocks.erase(block);
      } else {
        const int64_t bytes = 1 + static_cast<int64_t>(random() % 9);
        const int64_t begin = heap.Place(bytes);
        ASSERT_EQ(begin, line.Place(bytes));
        blocks[begin] = bytes;
      }
      furthest = std::max(furthest, line.end());
      ASSERT_EQ(heap.end(), line.end());
      ASSERT_EQ(heap.furthest(), furthest);
    }
  }
}

TEST(HeapTest, NothingIsLeftOfBlocksThatWereGivenBack) {
  Heap heap;
  const int64_t a = heap.Place(3), b = heap.Place(4), c = heap.Place(5);
  heap.Free(a, 3);
  heap.Free(c, 5);
  heap.Free(b, 4);
  EXPECT_EQ(heap.end(), 0);
  EXPECT_EQ(heap.Place(12), 0);
}

}  // namespace
}  // namespace ftd
