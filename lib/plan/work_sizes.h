// The sizes in which the engine works through a batch. Its operators keep to them, and the plan of
// its memory counts with them.
#pragma once

#include <algorithm>
#include <cstdint>

#include "lib/model/traits.h"

namespace ftd {

// Numbers that the loss keeps of a row of logits.
constexpr int64_t kRowSums = 3;

// The gradient of a norm's weight is summed over this many rows at a time, then over those sums.
constexpr int64_t kWeightGradRows = 64;

// Rows of a product that are made at a time where it needs memory of its own before it is added to
// a sum: all rows of a vocabulary would be a tensor of hundreds of megabytes.
constexpr int64_t kProductRows = 8192;

// Queries whose capped scores with all keys exist at a time.
constexpr int64_t kSoftcappedQueries = 256;

constexpr int64_t kChunkTokens = 64;  // of the gated delta rule, as in transformers

// Returns how many key heads, with the value heads that share them, the rule takes at a time in a
// batch of so many chunks. Their queries, keys and values are few enough that what the rule makes
// of them in between stays small beside the layer's other tensors.
inline int64_t KeyHeadsAtATime(const DeltaShape& s, int64_t chunks) {
  constexpr int64_t kNumbers = int64_t{1} << 23;
  const int64_t of_head =
      chunks * kChunkTokens * (2 * s.key_dim + s.value_heads / s.key_heads * s.value_dim);
  return std::clamp<int64_t>(kNumbers / of_head, 1, s.key_heads);
}

// Returns how many positions' logits are made at a time.
inline int64_t LossChunk(int64_t vocabulary, bool trained_head, bool on_gpu) {
  constexpr int64_t kTile = 128;  // rows of a matrix product that a GPU computes together
  // float32 logits of one chunk, in bytes. Large enough for full speed of the products, small next
  // to the model: a GPU reads the head again for each chunk, which only about a thousand rows hide;
  // and a head that is trained has its gradient read and written for each.
  const int64_t bytes = on_gpu ? 512 << 20 : trained_head ? 256 << 20 : 64 << 20;
  const int64_t rows = std::clamp<int64_t>(bytes / (vocabulary * 4), 16, 4096);
  return on_gpu && rows > kTile ? rows / kTile * kTile : rows;
}

}  // namespace ftd
