// How often the queue is looked at ahead.
#pragma once

#include "absl/time/time.h"

namespace ftd {

// A look reads a part of the queue, so a thousand submits in a moment must not be as many looks.
inline constexpr absl::Duration kLookPause = absl::Milliseconds(100);

}  // namespace ftd
