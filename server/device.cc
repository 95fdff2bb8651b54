#include "server/device.h"

#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"

namespace ftd {
namespace {

// Of the first GPU; empty without one.
std::string GpuNode() {
  constexpr int kMaxGpus = 16;
  if (access("/dev/nvidiactl", R_OK | W_OK) != 0) return "";
  for (int i = 0; i < kMaxGpus; ++i) {
    std::string node = absl::StrCat("/dev/nvidia", i);
    if (access(node.c_str(), R_OK | W_OK) == 0) return node;
  }
  return "";
}

}  // namespace

Device FindDevice(const StateDir& state_dir, const Options& options) {
  const std::string gpu = GpuNode();
  const int64_t reserve_mib = options.host_memory_reserve_mib;
  return {.cuda = !gpu.empty(),
          .lock = gpu.empty() ? state_dir.DeviceLock() : std::filesystem::path(gpu),
          .peak_tflops = options.peak_tflops,
          .host_memory_reserve_bytes = reserve_mib < 0 ? -1 : reserve_mib << 20};
}

}  // namespace ftd
