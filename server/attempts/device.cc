#include "server/attempts/device.h"

#include <algorithm>

#include "lib/base/device_lock.h"
#include "lib/base/host_memory.h"

namespace ftd {
namespace {

MemoryRoom RoomOn(bool cuda, int64_t reserve, const GpuSampler& gpus) {
  MemoryRoom room{.on_gpu = cuda, .bytes = TotalHostMemory() - reserve};
  if (!cuda) return room;
  // A GPU that has none of its own uses the host's (DGX Spark).
  const auto sample = gpus.Last();
  const bool known = sample.has_value() && !sample->empty();
  room.bytes = known ? sample->front().memory_total_bytes.value_or(room.bytes) : 0;
  return room;
}

}  // namespace

// With a GPU the lock is on its device node, so that the workers of all daemons, and ft-train, take
// turns. Without one it is the state directory's own.
Device FindDevice(const StateDir& state_dir, const Options& options, const GpuSampler& gpus) {
  const std::filesystem::path gpu = GpuLockFile();
  const bool cuda = !gpu.empty();
  const int64_t reserve_mib = options.host_memory_reserve_mib;
  const int64_t reserve = std::max<int64_t>(0, reserve_mib) << 20;
  Device device{.cuda = cuda,
                .lock = cuda ? gpu : state_dir.DeviceLock(),
                .peak_tflops = options.peak_tflops,
                .host_memory_reserve_bytes = reserve_mib < 0 ? -1 : reserve};
  if (const int64_t bytes = options.device_memory_mib << 20; bytes > 0) {
    device.room = [=] { return MemoryRoom{.on_gpu = cuda, .bytes = bytes}; };
  } else {
    device.room = [=, &gpus] { return RoomOn(cuda, reserve, gpus); };
  }
  return device;
}

}  // namespace ftd
