#include "worker/engine/ops/attention/blocks.h"

#include <ATen/ops/full.h>

#include <algorithm>
#include <limits>

namespace ftd::engine {

std::vector<QueryBlock> QueryBlocks(int64_t t, int64_t window, int64_t most) {
  std::vector<QueryBlock> blocks;
  for (int64_t begin = 0; begin < t; begin += most) {
    const int64_t first_key = window > 0 ? std::max<int64_t>(0, begin - window + 1) : 0;
    blocks.push_back({begin, std::min(begin + most, t), first_key});
  }
  return blocks;
}

// Query begin + i sees key first_key + j if −window < (first_key + j) − (begin + i) ≤ 0: between
// two diagonals, of which triu_ and tril_ clear what lies beyond.
at::Tensor BlockMask(const QueryBlock& block, int64_t window, const at::TensorOptions& options) {
  const int64_t shift = block.begin - block.first_key;
  at::Tensor mask =
      at::full({block.queries(), block.keys()}, -std::numeric_limits<double>::infinity(), options)
          .triu_(shift + 1);
  if (window == 0 || block.keys() <= window) return mask;
  return mask.add_(at::full(mask.sizes(), -std::numeric_limits<double>::infinity(), options)
                       .tril_(shift - window));
}

}  // namespace ftd::engine
