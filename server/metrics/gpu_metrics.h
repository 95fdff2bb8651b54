// The GPUs' memory, load, power, energy and temperature.
#pragma once

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <vector>

#include "server/host/gpus.h"

namespace ftd {

// Families ftd_gpu_*, labelled `gpu` (NVML's index). What a machine or a GPU does not answer is
// absent: all of it without libnvidia-ml.so.1, or while a driver in trouble lets a call hang;
// memory on a DGX Spark. Thread-safe.
class GpuMetrics : public prometheus::Collectable {
 public:
  // `gpus` must outlive it.
  explicit GpuMetrics(const GpuSampler& gpus) : gpus_(gpus) {}
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const GpuSampler& gpus_;
};

}  // namespace ftd
