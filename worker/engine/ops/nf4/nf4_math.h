// The arithmetic of NF4 by the element: nf4.cc and cuda/nf4.cu share it and so give the same bits.
// Each product and sum rounds by itself, as in bitsandbytes: a file that includes this is compiled
// without contraction to fused multiply-adds.
#pragma once

#include <cstdint>

#include "worker/engine/device/host_device.h"

namespace ftd::engine {

constexpr int64_t kNf4Block = 64, kNf4NestedBlock = 256;
constexpr int kNf4Values = 16;

// Returns one of 16 quantiles of the standard normal distribution, scaled to [-1, 1], with an exact
// zero.
FTD_HOST_DEVICE constexpr float Nf4Value(int code) {
  constexpr float values[kNf4Values] = {
      -1.0F,
      -0.6961928009986877F,
      -0.5250730514526367F,
      -0.39491748809814453F,
      -0.28444138169288635F,
      -0.18477343022823334F,
      -0.09105003625154495F,
      0.0F,
      0.07958029955625534F,
      0.16093020141124725F,
      0.24611230194568634F,
      0.33791524171829224F,
      0.44070982933044434F,
      0.5626170039176941F,
      0.7229568362236023F,
      1.0F,
  };
  return values[code];
}

// Returns the larger; a number when `b` is not one.
FTD_HOST_DEVICE float Nf4Larger(float a, float b) { return b > a ? b : a; }

// Returns the scale that a block of that largest absolute value keeps. A last, shorter block has a
// floor and a whole one may have zero; see Nf4Scaled.
FTD_HOST_DEVICE float Nf4Scale(float largest, bool whole) {
  return whole ? largest : Nf4Larger(largest, 1e-38F);
}

// Returns the value scaled to [-1, 1]. A whole block multiplies by the scale's reciprocal, a
// shorter one divides. That is bitsandbytes' way, and shows in the last bit.
FTD_HOST_DEVICE float Nf4Scaled(float value, float scale, bool whole) {
  return whole ? value * (1.0F / Nf4Larger(scale, 1e-38F)) : value / scale;
}

// Returns where values k and k + 1 meet, for k < 15. The index of the nearest value is the number
// of midpoints that lie below the scaled value.
FTD_HOST_DEVICE constexpr float Nf4Midpoint(int k) { return (Nf4Value(k) + Nf4Value(k + 1)) / 2; }

}  // namespace ftd::engine
