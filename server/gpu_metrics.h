// The GPUs' memory, load, power, energy and temperature, from NVIDIA's management library.
#pragma once

#include <prometheus/collectable.h>

#include <vector>

namespace ftd {

struct Nvml;  // the library's functions, found at run time

// Families ftd_gpu_*, labelled `gpu` (NVML's index). What a machine or a GPU does not answer is
// absent: all of it without libnvidia-ml.so.1, memory on a DGX Spark. Thread-safe.
class GpuMetrics : public prometheus::Collectable {
 public:
  GpuMetrics();
  ~GpuMetrics() override;
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  Nvml* const nvml_;  // null where there is none; never unloaded, as the driver keeps threads
};

}  // namespace ftd
