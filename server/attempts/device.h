// The device that this machine trains on.
#pragma once

#include <cstdint>
#include <filesystem>

#include "lib/spec/train_spec.h"
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

  const char* Name() const { return cuda ? "cuda" : "cpu"; }
  // bfloat16 does not pay on a CPU.
  Dtype DefaultDtype() const { return cuda ? Dtype::kBfloat16 : Dtype::kFloat32; }
};

// By the device nodes that NVIDIA's driver makes; no driver library is loaded.
Device FindDevice(const StateDir& state_dir, const Options& options);

}  // namespace ftd
