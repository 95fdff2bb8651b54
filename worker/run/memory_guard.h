// Ends the worker in time where it, or anyone else, uses up the host's memory. On machines whose
// GPU shares it (DGX Spark) nothing else does: the kernel does not see the GPU's share as the
// worker's, and the whole host freezes.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>

#include "absl/status/status.h"
#include "lib/base/file.h"
#include "worker/run/control_server.h"

namespace ftd {

// AttemptRequest::host_memory_reserve_bytes, with the default filled in.
int64_t HostMemoryReserve(int64_t wanted);

// Looks at its start and then ten times a second. Below `reserve` available bytes it asks for a
// stop, with a checkpoint, once; below half of it there is no time for that, and `on_emergency` is
// called, which does not return. Each gets the reason. A reserve of 0: no guard.
class MemoryGuard {
 public:
  using Emergency = std::function<void(const absl::Status& why)>;
  // Looks before it returns. `available` is AvailableHostMemory, except in tests; 0 means not
  // known, and nothing follows from it.
  static absl::StatusOr<std::unique_ptr<MemoryGuard>> Start(int64_t reserve, StopFlags* flags,
                                                            Emergency on_emergency,
                                                            std::function<int64_t()> available);
  ~MemoryGuard();

  // Why it asked for the stop: RESOURCE_EXHAUSTED HOST_MEMORY_GUARD; OK while it did not.
  absl::Status verdict() const;

 private:
  MemoryGuard() = default;
  void Watch();
  void Look();

  int64_t reserve_ = 0;
  StopFlags* flags_ = nullptr;
  Emergency on_emergency_;
  std::function<int64_t()> available_;
  std::atomic<int64_t> seen_{0};  // available bytes when it asked for the stop
  Fd wake_;
  std::thread thread_;
};

}  // namespace ftd
