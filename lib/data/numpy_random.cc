#include "lib/data/numpy_random.h"

#include <array>
#include <bit>
#include <cstddef>
#include <numeric>
#include <utility>

namespace ftd {
namespace {

__extension__ using Uint128 = unsigned __int128;

// Spreads a seed over 256 bits: numpy's SeedSequence with its pool of four words
// (numpy/random/bit_generator.pyx, after O'Neill's seed_seq_fe). The constants are its INIT_A,
// MULT_A, MIX_MULT_L, MIX_MULT_R, INIT_B and MULT_B.
class SeedSequence {
 public:
  explicit SeedSequence(uint64_t seed) {
    pool_[0] = Hashed(static_cast<uint32_t>(seed));
    pool_[1] = Hashed(static_cast<uint32_t>(seed >> 32));
    pool_[2] = Hashed(0);
    pool_[3] = Hashed(0);
    // Every word of the pool influences every other one.
    for (size_t source = 0; source < pool_.size(); ++source) {
      for (size_t i = 0; i < pool_.size(); ++i) {
        if (i != source) pool_[i] = Mixed(pool_[i], Hashed(pool_[source]));
      }
    }
  }

  // generate_state(4, uint64): 32-bit words, the lower half of each pair first.
  std::array<uint64_t, 4> State() const {
    std::array<uint64_t, 4> words{};
    uint32_t multiplier = 0x8b51f9ddU;
    for (size_t i = 0; i < 2 * words.size(); ++i) {
      uint32_t word = pool_[i % pool_.size()] ^ multiplier;
      multiplier *= 0x58f38dedU;
      word *= multiplier;
      word ^= word >> 16;
      words[i / 2] |= static_cast<uint64_t>(word) << (i % 2 * 32);
    }
    return words;
  }

 private:
  // The multiplier changes with each call, so the order of calls is part of the algorithm.
  uint32_t Hashed(uint32_t word) {
    word ^= multiplier_;
    multiplier_ *= 0x931e8875U;
    word *= multiplier_;
    return word ^ word >> 16;
  }

  static uint32_t Mixed(uint32_t a, uint32_t b) {
    const uint32_t word = a * 0xca01f9ddU - b * 0x4973f715U;
    return word ^ word >> 16;
  }

  uint32_t multiplier_ = 0x43b0d7e5U;
  std::array<uint32_t, 4> pool_{};
};

// PCG-XSL-RR-128/64: state ← state · kMultiplier + increment; the output is high xor low, rotated
// right by the upper 6 bits.
class Pcg64 {
 public:
  explicit Pcg64(uint64_t seed) {
    const auto words = SeedSequence(seed).State();
    // pcg_setseq_128_srandom: the increment has to be odd.
    increment_ = (Wide(words[2], words[3]) << 1) | 1;
    Advance();
    state_ += Wide(words[0], words[1]);
    Advance();
  }

  // Returns a number uniform in [0, largest]: as many random bits as `largest` has, drawn until
  // they are not above it (numpy's random_interval).
  uint64_t Bounded(uint64_t largest) {
    if (largest == 0) return 0;
    const uint64_t mask = UINT64_MAX >> std::countl_zero(largest);
    while (true) {
      const uint64_t value = mask & (largest <= UINT32_MAX ? Next32() : Next64());
      if (value <= largest) return value;
    }
  }

 private:
  static Uint128 Wide(uint64_t high, uint64_t low) {
    return static_cast<Uint128>(high) << 64 | low;
  }

  void Advance() { state_ = state_ * kMultiplier + increment_; }

  uint64_t Next64() {
    Advance();
    const auto high = static_cast<uint64_t>(state_ >> 64), low = static_cast<uint64_t>(state_);
    return std::rotr(high ^ low, static_cast<int>(high >> 58));
  }

  // Returns half of a 64-bit number, the lower half first, and keeps the other for the next call,
  // as numpy does.
  uint32_t Next32() {
    if (has_half_) {
      has_half_ = false;
      return half_;
    }
    const uint64_t both = Next64();
    half_ = static_cast<uint32_t>(both >> 32);
    has_half_ = true;
    return static_cast<uint32_t>(both);
  }

  static constexpr Uint128 kMultiplier =
      static_cast<Uint128>(0x2360ed051fc65da4ULL) << 64 | 0x4385df649fccf645ULL;
  Uint128 state_ = 0, increment_ = 0;
  bool has_half_ = false;
  uint32_t half_ = 0;
};

}  // namespace

std::vector<int64_t> NumpyPermutation(uint64_t seed, int64_t n) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  // Generator.permutation shuffles arange(n).
  Pcg64 random(seed);
  for (size_t i = order.size(); i-- > 1;) std::swap(order[i], order[random.Bounded(i)]);
  return order;
}

}  // namespace ftd
