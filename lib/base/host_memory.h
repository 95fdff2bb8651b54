// The memory that the host has left.
#pragma once

#include <cstdint>

namespace ftd {

// MemAvailable of /proc/meminfo, in bytes: what can be had without swapping, the page cache
// included. 0 when it cannot be read.
int64_t AvailableHostMemory();

}  // namespace ftd
