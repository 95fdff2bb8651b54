// a / b, rounded up, for a ≥ 0 and b > 0.
#pragma once

#include <cstdint>

namespace ftd {

constexpr int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace ftd
