#include "server/attempts/device.h"

#include "lib/base/device_lock.h"

namespace ftd {

// With a GPU the lock is on its device node, so that the workers of all daemons, and ft-train, take
// turns. Without one it is the state directory's own.
Device FindDevice(const StateDir& state_dir, const Options& options) {
  const std::filesystem::path gpu = GpuLockFile();
  const int64_t reserve_mib = options.host_memory_reserve_mib;
  return {.cuda = !gpu.empty(),
          .lock = gpu.empty() ? state_dir.DeviceLock() : gpu,
          .peak_tflops = options.peak_tflops,
          .host_memory_reserve_bytes = reserve_mib < 0 ? -1 : reserve_mib << 20};
}

}  // namespace ftd
