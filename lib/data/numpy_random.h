// numpy's seeded random order, in which `datasets.shuffle` puts rows.
#pragma once

#include <cstdint>
#include <vector>

namespace ftd {

// numpy.random.default_rng(seed).permutation(n): SeedSequence, PCG64 (O'Neill 2014, XSL-RR 128/64),
// Fisher-Yates from the end with integers by masking and rejection. Requires: n ≥ 0.
std::vector<int64_t> NumpyPermutation(uint64_t seed, int64_t n);

}  // namespace ftd
