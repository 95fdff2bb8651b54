// Orders of rows as a filter, for a test in Python.
//
//   numpy_orders                stdin: SEED N a line; stdout for each: the order, by spaces
//   numpy_orders split          stdin: SEED N TEST_SIZE a line; stdout for each: the test rows,
//   then
//                               in a line of their own the others
#include <cstdint>
#include <iostream>
#include <vector>

#include "lib/data/numpy_random.h"
#include "lib/data/train_test_split.h"

namespace {

void Print(const std::vector<int64_t>& rows) {
  for (const int64_t row : rows) std::cout << row << ' ';
  std::cout << '\n';
}

}  // namespace

int main(int argc, char**) {
  uint64_t seed = 0;
  for (int64_t n = 0; std::cin >> seed >> n;) {
    if (argc == 1) {
      Print(ftd::NumpyPermutation(seed, n));
      continue;
    }
    double test_size = 0;
    std::cin >> test_size;
    const ftd::TrainTestSplit split = ftd::SplitRows(n, test_size, seed);
    Print(split.test);
    Print(split.train);
  }
}
