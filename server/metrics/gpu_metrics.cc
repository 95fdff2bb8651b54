#include "server/metrics/gpu_metrics.h"

#include <string>
#include <utility>

#include "server/metrics/metric_family.h"

namespace ftd {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

// A scrape waits no longer for a GPU. Prometheus gives up after 10 s by default.
constexpr absl::Duration kPatience = absl::Seconds(2);

// A family of all GPUs that answer; `figure` gives an optional number.
template <typename Figure>
void AddFamily(std::vector<MetricFamily>& families, MetricType type, const char* name,
               const char* help, const std::vector<Gpu>& gpus, Figure figure) {
  MetricFamily family = EmptyFamily(name, help, type);
  for (const Gpu& gpu : gpus) {
    const auto value = gpu.*figure;
    if (value) {
      AddSample(family, {{"gpu", std::to_string(gpu.index)}}, static_cast<double>(*value));
    }
  }
  if (!family.metric.empty()) families.push_back(std::move(family));
}

}  // namespace

std::vector<MetricFamily> GpuMetrics::Collect() const {
  const std::vector<Gpu> gpus = gpus_.Fresh(kPatience).value_or(std::vector<Gpu>());
  std::vector<MetricFamily> families;
  const auto add = [&](MetricType type, const char* name, const char* help, auto figure) {
    AddFamily(families, type, name, help, gpus, figure);
  };
  const MetricType gauge = MetricType::Gauge;
  add(gauge, "ftd_gpu_memory_used_bytes", "GPU memory in use, by anyone.", &Gpu::memory_used_bytes);
  add(gauge, "ftd_gpu_memory_total_bytes", "GPU memory.", &Gpu::memory_total_bytes);
  add(gauge, "ftd_gpu_utilization_ratio", "Share of time that a kernel ran.", &Gpu::utilization);
  add(gauge, "ftd_gpu_power_watts", "Power drawn.", &Gpu::power_watts);
  add(MetricType::Counter, "ftd_gpu_energy_joules_total", "Energy since the driver was loaded.",
      &Gpu::energy_joules);
  add(gauge, "ftd_gpu_temperature_celsius", "Temperature of the chip.", &Gpu::temperature_celsius);
  return families;
}

}  // namespace ftd
