// The mask of dropout, as a function of an element's place: no state, no mask in memory, and the
// same answer on every device, in every order and however often it is asked.
//
// The random numbers are Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1,
// 2, 3"): ten rounds that turn a counter of 128 bits and a key of 64 into four numbers of 32 bits.
// The counter holds the group of four elements, the part and the map; the key is the micro-batch's
// seed.
#pragma once

#include <cstdint>

#include "worker/engine/device/host_device.h"

namespace ftd::engine {

// Elements that share one counter.
constexpr int kDropoutGroup = 4;

struct PhiloxNumbers {
  uint32_t x[kDropoutGroup];
};

FTD_HOST_DEVICE PhiloxNumbers Philox(PhiloxNumbers counter, uint64_t key) {
  auto low = static_cast<uint32_t>(key), high = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * counter.x[0];
    const uint64_t b = uint64_t{0xCD9E8D57} * counter.x[2];
    counter = {{static_cast<uint32_t>(b >> 32) ^ counter.x[1] ^ low, static_cast<uint32_t>(b),
                static_cast<uint32_t>(a >> 32) ^ counter.x[3] ^ high, static_cast<uint32_t>(a)}};
    low += 0x9E3779B9;
    high += 0xBB67AE85;
  }
  return counter;
}

// The mask of one tensor. Its elements are numbered in memory order.
struct DropoutMask {
  uint64_t seed = 0;       // of the micro-batch
  uint32_t map = 0;        // which linear map of the model reads the tensor
  uint32_t part = 0;       // which adapter of that map
  uint32_t threshold = 0;  // p · 2³²: elements whose number is below it are dropped
  float scale = 1;         // 1 / (1 − p)
};

// The factors of a group's four elements: 0 or `scale`.
struct DropoutFactors {
  float x[kDropoutGroup];
};

FTD_HOST_DEVICE DropoutFactors FactorsOf(const DropoutMask& mask, int64_t group) {
  const auto place = static_cast<uint64_t>(group);
  const PhiloxNumbers numbers = Philox(
      {{static_cast<uint32_t>(place), static_cast<uint32_t>(place >> 32), mask.part, mask.map}},
      mask.seed);
  DropoutFactors factors;
  for (int i = 0; i < kDropoutGroup; ++i)
    factors.x[i] = numbers.x[i] < mask.threshold ? 0 : mask.scale;
  return factors;
}

}  // namespace ftd::engine
