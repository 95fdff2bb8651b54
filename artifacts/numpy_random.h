// numpy's default generator, as far as it orders rows: datasets.Dataset.shuffle(seed) visits
// numpy.random.default_rng(seed).permutation(n).
#pragma once

#include <cstdint>
#include <vector>

namespace ftd {

// The numbers 0 … n − 1 in that order. Requires: seed ≥ 0, n ≥ 0.
std::vector<int64_t> NumpyPermutation(int64_t seed, int64_t n);

}  // namespace ftd
