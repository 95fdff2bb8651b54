// The clock that intervals are measured by. Nobody sets it, and it stands still while the machine
// is suspended; absl::Now() is for times that are shown or stored.
#pragma once

#include <chrono>

#include "absl/time/time.h"

namespace ftd {

// A moment of the steady clock, as the time since a start that differs from boot to boot: of use
// only within a process.
using Moment = absl::Duration;

// Later than any moment.
inline constexpr Moment kNever = absl::InfiniteDuration();

inline Moment SteadyNow() {
  return absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

}  // namespace ftd
