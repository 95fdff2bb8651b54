// float16 as the kernels use it.
#pragma once

#include <c10/util/Half.h>

using __half = c10::Half;

inline __half __float2half_rn(float value) { return value; }
