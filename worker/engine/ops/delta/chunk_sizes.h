// The sizes of what the gated delta rule takes at a time, for the operator and for the plan of its
// memory; without torch.
#pragma once

#include <algorithm>
#include <cstdint>

#include "lib/model/traits.h"

namespace ftd::engine {

constexpr int64_t kChunkTokens = 64;  // as in transformers

// Returns how many key heads, with the value heads that share them, the rule takes at a time in a
// batch of so many chunks. Their queries, keys and values are few enough that what the rule makes
// of them in between stays small beside the layer's other tensors.
inline int64_t KeyHeadsAtATime(const DeltaShape& s, int64_t chunks) {
  constexpr int64_t kNumbers = int64_t{1} << 23;
  const int64_t of_head =
      chunks * kChunkTokens * (2 * s.key_dim + s.value_heads / s.key_heads * s.value_dim);
  return std::clamp<int64_t>(kNumbers / of_head, 1, s.key_heads);
}

}  // namespace ftd::engine
