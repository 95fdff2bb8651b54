// The GPUs' memory, load, power, energy and temperature, from NVIDIA's management library.
#pragma once

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <vector>

#include "server/metrics/sampler.h"

namespace ftd {

// Families ftd_gpu_*, labelled `gpu` (NVML's index). What a machine or a GPU does not answer is
// absent: all of it without libnvidia-ml.so.1, or while a driver in trouble lets a call hang;
// memory on a DGX Spark. Thread-safe.
class GpuMetrics : public prometheus::Collectable {
 public:
  GpuMetrics();
  // Waits for the driver two seconds at most.
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  // Its own thread asks the driver, which may hang.
  const Sampler<std::vector<prometheus::MetricFamily>> sampler_;
};

}  // namespace ftd
