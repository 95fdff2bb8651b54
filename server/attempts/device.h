// The device that this machine trains on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include "lib/plan/fit.h"
#include "lib/spec/train_spec.h"
#include "server/host/gpus.h"
#include "server/host/options.h"
#include "server/host/state_dir.h"

namespace ftd {

struct Device {
  bool cuda = false;
  // The file that a worker locks while it computes: the GPU's node, or a file of the state
  // directory.
  std::filesystem::path lock;
  // Its settings, for the worker (AttemptRequest).
  double peak_tflops = 0;
  int64_t host_memory_reserve_bytes = -1;
  // The memory that jobs may have. Of a GPU it is not known before its first sample.
  std::function<MemoryRoom()> room = [] { return MemoryRoom(); };

  const char* Name() const { return cuda ? "cuda" : "cpu"; }
  // bfloat16 does not pay on a CPU.
  Dtype DefaultDtype() const { return cuda ? Dtype::kBfloat16 : Dtype::kFloat32; }
};

// By the device nodes that NVIDIA's driver makes; no driver library is loaded. Jobs may have as
// much memory as the options say, else all of the GPU's or, without one, of the machine's, less
// what they must leave free. `gpus` must outlive the device.
Device FindDevice(const StateDir& state_dir, const Options& options, const GpuSampler& gpus);

}  // namespace ftd
