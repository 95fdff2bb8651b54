#include "artifacts/numpy_random.h"

#include <array>
#include <bit>
#include <cstddef>
#include <limits>
#include <numeric>
#include <utility>

namespace ftd {
namespace {

using Uint128 = unsigned __int128;

// A hash whose constant moves on with every use (O'Neill 2015, "Developing a seed_seq alternative";
// numpy/random/bit_generator.pyx).
struct MovingHash {
  uint32_t constant, multiplier;
  uint32_t operator()(uint32_t value) {
    value ^= constant;
    constant *= multiplier;
    value *= constant;
    return value ^ (value >> 16);
  }
};

uint32_t Mix(uint32_t x, uint32_t y) {
  const uint32_t mixed = 0xca01f9ddU * x - 0x4973f715U * y;
  return mixed ^ (mixed >> 16);
}

// numpy's SeedSequence(seed).generate_state(4, uint64), for a seed of at most 64 bits.
std::array<uint64_t, 4> SeedState(uint64_t seed) {
  MovingHash hash{0x43b0d7e5U, 0x931e8875U};
  std::array<uint32_t, 4> pool{};
  const uint32_t words[4] = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32), 0, 0};
  for (size_t i = 0; i < pool.size(); ++i) pool[i] = hash(words[i]);
  for (size_t from = 0; from < pool.size(); ++from) {
    for (size_t to = 0; to < pool.size(); ++to) {
      if (from != to) pool[to] = Mix(pool[to], hash(pool[from]));
    }
  }
  MovingHash out{0x8b51f9ddU, 0x58f38dedU};
  std::array<uint64_t, 4> state{};
  for (size_t i = 0; i < 8; ++i) state[i / 2] |= uint64_t{out(pool[i % 4])} << (32 * (i % 2));
  return state;
}

// PCG64, XSL-RR (O'Neill 2014), with numpy's habit of serving 32-bit numbers as halves, the lower
// one first.
class Pcg64 {
 public:
  explicit Pcg64(uint64_t seed) {
    const auto s = SeedState(seed);
    increment_ = (((Uint128{s[2]} << 64) | s[3]) << 1) | 1;
    Advance();
    state_ += (Uint128{s[0]} << 64) | s[1];
    Advance();
  }

  uint64_t Next64() {
    Advance();
    const auto folded = static_cast<uint64_t>(state_ >> 64) ^ static_cast<uint64_t>(state_);
    const auto turn = static_cast<unsigned>(state_ >> 122);
    return (folded >> turn) | (folded << (-turn & 63));
  }

  uint32_t Next32() {
    has_upper_ = !has_upper_;
    if (!has_upper_) return upper_;
    const uint64_t both = Next64();
    upper_ = static_cast<uint32_t>(both >> 32);
    return static_cast<uint32_t>(both);
  }

 private:
  void Advance() {
    constexpr Uint128 kMultiplier = (Uint128{0x2360ed051fc65da4ULL} << 64) | 0x4385df649fccf645ULL;
    state_ = state_ * kMultiplier + increment_;
  }

  Uint128 state_ = 0, increment_ = 0;
  uint32_t upper_ = 0;  // served next when `has_upper_`
  bool has_upper_ = false;
};

// A number from 0 to `last`, by masking and trying again, as numpy's random_interval: 32 bits at a
// time as long as they suffice.
uint64_t UpTo(uint64_t last, Pcg64& generator) {
  const uint64_t mask = std::bit_ceil(last + 1) - 1;
  const bool narrow = last <= std::numeric_limits<uint32_t>::max();
  uint64_t drawn = 0;
  do {
    drawn = (narrow ? generator.Next32() : generator.Next64()) & mask;
  } while (drawn > last);
  return drawn;
}

}  // namespace

std::vector<int64_t> NumpyPermutation(int64_t seed, int64_t n) {
  Pcg64 generator(static_cast<uint64_t>(seed));
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  for (size_t i = order.size(); i-- > 1;) std::swap(order[i], order[UpTo(i, generator)]);
  return order;
}

}  // namespace ftd
