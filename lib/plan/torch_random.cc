#include "lib/plan/torch_random.h"

#include <limits>
#include <numeric>
#include <random>
#include <utility>

namespace ftd {

// Fisher and Yates' shuffle from the front, by a Mersenne twister that takes the seed's lower 32
// bits. From so many elements on that 32 random bits would prefer some places, two draws are one
// number of 64.
std::vector<int64_t> TorchRandperm(int64_t n, int64_t seed) {
  const bool wide = n >= std::numeric_limits<uint32_t>::max() / 20;
  std::mt19937 random(static_cast<uint32_t>(seed));
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  for (int64_t i = 0; i < n - 1; ++i) {
    uint64_t drawn = random();
    if (wide) drawn = drawn << 32 | random();
    const auto place = i + static_cast<int64_t>(drawn % static_cast<uint64_t>(n - i));
    std::swap(order[static_cast<size_t>(i)], order[static_cast<size_t>(place)]);
  }
  return order;
}

}  // namespace ftd
