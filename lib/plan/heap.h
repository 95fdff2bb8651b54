// Where blocks of memory are placed on a CPU: by the engine that allocates its tensors there
// (worker/engine/device/large_tensors.h), and by the plan that foretells how far they reach.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <utility>

namespace ftd {

// Places of blocks on a line that begins at 0: each in the smallest gap that holds it, else at the
// end. Not thread-safe.
class Heap {
 public:
  // Returns where a block of so many bytes, at least one, begins.
  int64_t Place(int64_t bytes);
  // Gives a block back that was placed so.
  void Free(int64_t begin, int64_t bytes);

  // The end of the last block, and the furthest that it ever was.
  int64_t end() const { return end_; }
  int64_t furthest() const { return furthest_; }

 private:
  void AddGap(int64_t begin, int64_t bytes);
  void RemoveGap(std::map<int64_t, int64_t>::iterator gap);

  std::map<int64_t, int64_t> gaps_;                // bytes by begin; no two touch
  std::set<std::pair<int64_t, int64_t>> by_size_;  // the same as (bytes, begin)
  int64_t end_ = 0, furthest_ = 0;
};

}  // namespace ftd
