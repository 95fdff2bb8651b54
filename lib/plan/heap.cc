#include "lib/plan/heap.h"

#include <algorithm>
#include <iterator>

namespace ftd {

int64_t Heap::Place(int64_t bytes) {
  const auto smallest = by_size_.lower_bound({bytes, 0});
  if (smallest == by_size_.end()) {
    const int64_t begin = end_;
    end_ += bytes;
    furthest_ = std::max(furthest_, end_);
    return begin;
  }
  const auto [size, begin] = *smallest;
  RemoveGap(gaps_.find(begin));
  if (size > bytes) AddGap(begin + bytes, size - bytes);
  return begin;
}

// Joins the block with the gaps on both sides of it.
void Heap::Free(int64_t begin, int64_t bytes) {
  const auto after = gaps_.lower_bound(begin);
  if (after != gaps_.begin()) {
    const auto before = std::prev(after);
    if (before->first + before->second == begin) {
      begin = before->first;
      bytes += before->second;
      RemoveGap(before);
    }
  }
  if (after != gaps_.end() && after->first == begin + bytes) {
    bytes += after->second;
    RemoveGap(after);
  }
  if (begin + bytes == end_) {
    end_ = begin;
  } else {
    AddGap(begin, bytes);
  }
}

void Heap::AddGap(int64_t begin, int64_t bytes) {
  gaps_.emplace(begin, bytes);
  by_size_.emplace(bytes, begin);
}

void Heap::RemoveGap(std::map<int64_t, int64_t>::iterator gap) {
  by_size_.erase({gap->second, gap->first});
  gaps_.erase(gap);
}

}  // namespace ftd
