// The memory that the host has, and has left.
#pragma once

#include <cstdint>

namespace ftd {

// MemAvailable of /proc/meminfo, in bytes: what can be had without swapping, the page cache
// included. 0 when it cannot be read.
int64_t AvailableHostMemory();

// What this process has allocated and touched, in bytes: now, and at most by now. Pages of programs
// and of other mapped files do not count. 0 when it cannot be read.
struct ProcessMemoryUse {
  int64_t now = 0, peak = 0;
};
ProcessMemoryUse ProcessMemory();

// MemTotal of /proc/meminfo, in bytes. 0 when it cannot be read.
int64_t TotalHostMemory();

}  // namespace ftd
