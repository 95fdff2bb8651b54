// The GPUs as NVIDIA's management library sees them: memory, load, power, energy and temperature.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/host/sampler.h"

namespace ftd {

// What a GPU does not answer is absent: memory on a DGX Spark, for example.
struct Gpu {
  int index = 0;  // NVML's
  std::string name;
  std::optional<int64_t> memory_used_bytes;  // by anyone
  std::optional<int64_t> memory_total_bytes;
  std::optional<double> utilization;  // share of time that a kernel ran
  std::optional<double> power_watts;
  std::optional<double> energy_joules;  // since the driver was loaded
  std::optional<double> temperature_celsius;
};

// All GPUs; none without libnvidia-ml.so.1 or a driver. Blocks while a driver in trouble lets a
// call hang, so ask through a sampler.
std::vector<Gpu> AskGpus();

using GpuSampler = Sampler<std::vector<Gpu>>;

}  // namespace ftd
