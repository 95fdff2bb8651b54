// A worker that does something for the daemon while a job trains, or nothing does.
#pragma once

#include <cstdint>

#include "absl/status/status.h"

namespace ftd {

// The lowest priority (nice(2)).
inline constexpr int kLowestPriority = 19;

// From now on this process has a lower priority, and ends with the thread that started it.
// CANCELLED: the daemon of that pid (0: not known) has ended already.
absl::Status BecomeSideWorker(int64_t daemon_pid, int niceness = kLowestPriority);

}  // namespace ftd
