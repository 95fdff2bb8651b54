// Descriptors that outlive their daemon.
#pragma once

#include <functional>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "lib/base/steady_clock.h"

namespace ftd {

// A child that a killed daemon was just starting has that daemon's lock and sockets until it runs
// its own program. Waits while `is_held`, for a second at most; true: it is still held.
inline bool IsHeldForLong(const std::function<bool()>& is_held) {
  const Moment until = SteadyNow() + absl::Seconds(1);
  while (is_held()) {
    if (SteadyNow() >= until) return true;
    absl::SleepFor(absl::Milliseconds(10));
  }
  return false;
}

}  // namespace ftd
