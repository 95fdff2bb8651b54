// The memory that the host has, and has left.
#pragma once

#include <cstdint>

namespace ftd {

// MemAvailable of /proc/meminfo, in bytes: what can be had without swapping, the page cache
// included. 0 when it cannot be read.
int64_t AvailableHostMemory();

// This process's own, in bytes: resident now, and at most by now. 0 when it cannot be read.
struct ProcessMemoryUse {
  int64_t now = 0, peak = 0;
};
ProcessMemoryUse ProcessMemory();

// MemTotal of /proc/meminfo, in bytes. 0 when it cannot be read.
int64_t TotalHostMemory();

}  // namespace ftd
