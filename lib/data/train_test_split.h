// The choice of rows that are kept back from training to evaluate on.
#pragma once

#include <cstdint>
#include <vector>

namespace ftd {

struct TrainTestSplit {
  std::vector<int64_t> train, test;  // numbers of rows, in the order in which they are used
};

// Splits `n` rows as `train_test_split(test_size=…, seed=…)` of Hugging Face's `datasets` does: in
// numpy's order the first are the test rows. `test_size`: below 1 a share, rounded up, else a
// number; at most all rows. Requires: n ≥ 0, test_size ≥ 0.
TrainTestSplit SplitRows(int64_t n, double test_size, uint64_t seed);

}  // namespace ftd
