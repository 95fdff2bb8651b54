// Blocks of queries of one document, with the keys that they see: a document of t tokens and a
// window of W takes work of t · W in blocks, rather than t².
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace ftd::engine {

// Queries begin .. end − 1 of a document see keys from `first_key` to `end` − 1 at most.
struct QueryBlock {
  int64_t begin = 0, end = 0, first_key = 0;

  int64_t queries() const { return end - begin; }
  int64_t keys() const { return end - first_key; }
};

// Returns the blocks of t tokens, of at most `most` queries each. A window of 0 is none.
std::vector<QueryBlock> QueryBlocks(int64_t t, int64_t window, int64_t most);

// Returns what is added to a block's scores [queries, keys]: 0 where a query sees a key, which is
// neither later nor `window` or more tokens earlier; −∞ elsewhere.
at::Tensor BlockMask(const QueryBlock& block, int64_t window, const at::TensorOptions& options);

}  // namespace ftd::engine
