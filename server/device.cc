#include "server/device.h"

#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"

namespace ftd {

Device FindDevice(const StateDir& state_dir) {
  constexpr int kMaxGpus = 16;
  if (access("/dev/nvidiactl", R_OK | W_OK) == 0) {
    for (int i = 0; i < kMaxGpus; ++i) {
      const std::string node = absl::StrCat("/dev/nvidia", i);
      if (access(node.c_str(), R_OK | W_OK) == 0) return {.cuda = true, .lock = node};
    }
  }
  return {.cuda = false, .lock = state_dir.DeviceLock()};
}

}  // namespace ftd
