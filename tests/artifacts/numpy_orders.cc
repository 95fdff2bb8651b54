// Orders of rows as a filter, for a test in Python.
//
//   numpy_orders    stdin: SEED N a line; stdout for each: the order, by spaces
#include <cstdint>
#include <iostream>

#include "artifacts/numpy_random.h"

int main() {
  uint64_t seed = 0;
  for (int64_t n = 0; std::cin >> seed >> n;) {
    for (int64_t row : ftd::NumpyPermutation(seed, n)) std::cout << row << ' ';
    std::cout << '\n';
  }
}
