#include "lib/base/host_memory.h"

#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>

namespace ftd {
namespace {

// Returns a line's figure ("MemTotal:   12345 kB") in bytes. 0 without /proc, which callers take
// for "not known".
int64_t FigureOf(const char* file, std::string_view wanted) {
  std::ifstream lines(file);
  std::string line;
  while (std::getline(lines, line)) {
    if (line.starts_with(wanted))
      return std::strtoll(line.c_str() + wanted.size(), nullptr, 10) * 1024;
  }
  return 0;
}

}  // namespace

// It counts caches that the kernel can give up, which MemFree does not.
int64_t AvailableHostMemory() { return FigureOf("/proc/meminfo", "MemAvailable:"); }

int64_t TotalHostMemory() { return FigureOf("/proc/meminfo", "MemTotal:"); }

// The kernel keeps the peak of all pages alone. Those of files grow while new code runs, and hardly
// shrink.
ProcessMemoryUse ProcessMemory() {
  constexpr const char* kStatus = "/proc/self/status";
  return {.now = FigureOf(kStatus, "RssAnon:"),
          .peak = FigureOf(kStatus, "VmHWM:") - FigureOf(kStatus, "RssFile:")};
}

}  // namespace ftd
