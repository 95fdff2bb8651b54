// bfloat16 as the kernels use it.
#pragma once

#include <c10/util/BFloat16.h>

using __nv_bfloat16 = c10::BFloat16;

inline __nv_bfloat16 __float2bfloat16_rn(float value) { return value; }
