// The softmax sums of a row of logits in one pass over it, by many threads (Milakov & Gimelshein
// 2018, "Online normalizer calculation for softmax"): each keeps the sums of what it has seen,
// relative to the largest entry so far, and sums of disjoint parts are put together in any order.
#pragma once

#include <cmath>

#include "worker/engine/device/host_device.h"

namespace ftd::engine::cuda {

// Returns e^s for s ≤ 0. On the GPU the rounding of s·log₂e shows as an error of |s|·2⁻²³ relative
// to e^s, which is at most 5e-8 of the row's largest term.
FTD_HOST_DEVICE float Exp(float s) {
#ifdef __CUDA_ARCH__
  return __expf(s);
#else
  return std::exp(s);
#endif
}

// Σ e and Σ e·s over the entries x seen, where s = x − max and e = eˢ.
struct SoftmaxSums {
  float max = -INFINITY;
  float e = 0, es = 0;

  // Returns what entries are taken relative to: 0 while only −∞ was seen, because −∞ − (−∞) is not
  // a number.
  FTD_HOST_DEVICE float Base() const { return max == -INFINITY ? 0 : max; }

  // Makes the sums relative to `larger`, if it is.
  FTD_HOST_DEVICE void Raise(float larger) {
    if (!(larger > max)) return;
    if (max != -INFINITY) {
      const float shift = max - larger, factor = Exp(shift);
      es = (es + e * shift) * factor;
      e *= factor;
    }
    max = larger;
  }

  // Requires: Raise(x) was called, or that of a larger entry.
  FTD_HOST_DEVICE void Add(float x) {
    const float s = x - Base(), term = Exp(s);
    e += term;
    es += term == 0 ? 0 : term * s;  // s may be −∞
  }

  FTD_HOST_DEVICE void Merge(SoftmaxSums other) {
    Raise(other.max);
    other.Raise(max);
    e += other.e;
    es += other.es;
  }

  // Return −log p of an entry, and −Σ p log p; nats.
  FTD_HOST_DEVICE float Nll(float x) const { return std::log(e) - (x - Base()); }
  FTD_HOST_DEVICE float Entropy() const { return std::log(e) - es / e; }
};

}  // namespace ftd::engine::cuda
