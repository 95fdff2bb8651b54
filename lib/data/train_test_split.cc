#include "lib/data/train_test_split.h"

#include <algorithm>
#include <cmath>

#include "lib/data/numpy_random.h"

namespace ftd {

// The first rows of the permutation are the test rows, as in `datasets`.
TrainTestSplit SplitRows(int64_t n, double test_size, uint64_t seed) {
  const auto all = static_cast<double>(n);
  const double wanted = test_size < 1 ? std::ceil(test_size * all) : test_size;
  const auto tests = static_cast<std::ptrdiff_t>(std::min(wanted, all));
  const std::vector<int64_t> order = NumpyPermutation(seed, n);
  return {.train = {order.begin() + tests, order.end()},
          .test = {order.begin(), order.begin() + tests}};
}

}  // namespace ftd
