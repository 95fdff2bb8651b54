#include "lib/base/host_memory.h"

#include <fstream>
#include <string>

namespace ftd {

// 0 without /proc, which callers take for "not known".
int64_t AvailableHostMemory() {
  std::ifstream meminfo("/proc/meminfo");
  std::string key;
  int64_t kibibytes = 0;
  // "MemAvailable:   12345 kB". It counts caches that the kernel can give up, which MemFree does
  // not.
  while (meminfo >> key >> kibibytes) {
    if (key == "MemAvailable:") return kibibytes * 1024;
    meminfo.ignore(64, '\n');
  }
  return 0;
}

}  // namespace ftd
