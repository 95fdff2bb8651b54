#include "server/metrics/gpu_metrics.h"

#include <dlfcn.h>

#include <string>
#include <utility>

#include "server/metrics/metric_family.h"

namespace ftd {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

// The part of nvml.h that is used, written out after NVML's API reference, so that a build needs no
// CUDA toolkit. 0 is NVML_SUCCESS everywhere.
struct Nvml {
  using Device = struct DeviceTag*;
  struct Memory {
    unsigned long long total, free, used;  // bytes
  };
  struct Utilization {
    unsigned gpu, memory;  // percent
  };
  int (*init)();
  int (*count)(unsigned* devices);
  int (*by_index)(unsigned index, Device* device);
  int (*memory)(Device device, Memory* memory);
  int (*utilization)(Device device, Utilization* utilization);
  int (*power)(Device device, unsigned* milliwatts);
  int (*energy)(Device device, unsigned long long* millijoules);
  int (*temperature)(Device device, int sensor, unsigned* celsius);
};

constexpr int kGpuSensor = 0;  // NVML_TEMPERATURE_GPU
// A scrape waits no longer for a GPU. Prometheus gives up after 10 s by default.
constexpr absl::Duration kPatience = absl::Seconds(2);

template <typename Function>
void Find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
}

// Loads the library. Null when it is missing, too old to know its GPUs, or finds no driver. It is
// never unloaded, as the driver keeps threads.
const Nvml* Load() {
  void* const library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return nullptr;
  auto* const nvml = new Nvml;
  Find(library, "nvmlInit_v2", nvml->init);
  Find(library, "nvmlDeviceGetCount_v2", nvml->count);
  Find(library, "nvmlDeviceGetHandleByIndex_v2", nvml->by_index);
  Find(library, "nvmlDeviceGetMemoryInfo", nvml->memory);
  Find(library, "nvmlDeviceGetUtilizationRates", nvml->utilization);
  Find(library, "nvmlDeviceGetPowerUsage", nvml->power);
  Find(library, "nvmlDeviceGetTotalEnergyConsumption", nvml->energy);
  Find(library, "nvmlDeviceGetTemperature", nvml->temperature);
  if (nvml->init != nullptr && nvml->count != nullptr && nvml->by_index != nullptr &&
      nvml->init() == 0) {
    return nvml;
  }
  delete nvml;
  return nullptr;
}

// Returns whether the function exists and succeeded. A GPU that cannot measure something answers
// with an error, and its sample is left out.
template <typename Function, typename... Arguments>
bool Ask(Function* function, Arguments... arguments) {
  return function != nullptr && function(arguments...) == 0;
}

struct GpuFamilies {
  static MetricFamily Gauge(const char* name, const char* help) {
    return EmptyFamily(name, help, MetricType::Gauge);
  }

  MetricFamily used = Gauge("ftd_gpu_memory_used_bytes", "GPU memory in use, by anyone.");
  MetricFamily total = Gauge("ftd_gpu_memory_total_bytes", "GPU memory.");
  MetricFamily load = Gauge("ftd_gpu_utilization_ratio", "Share of time that a kernel ran.");
  MetricFamily power = Gauge("ftd_gpu_power_watts", "Power drawn.");
  MetricFamily energy = EmptyFamily("ftd_gpu_energy_joules_total",
                                    "Energy since the driver was loaded.", MetricType::Counter);
  MetricFamily heat = Gauge("ftd_gpu_temperature_celsius", "Temperature of the chip.");

  // NVML has percent, milliwatts and millijoules; Prometheus wants ratios, watts and joules.
  void Add(const Nvml& nvml, Nvml::Device device, const MetricLabels& labels) {
    Nvml::Memory memory = {};
    Nvml::Utilization utilization = {};
    unsigned number = 0;
    unsigned long long big_number = 0;
    // A total of zero is how a GPU that shares the host's memory answers on some drivers.
    if (Ask(nvml.memory, device, &memory) && memory.total > 0) {
      AddSample(used, labels, static_cast<double>(memory.used));
      AddSample(total, labels, static_cast<double>(memory.total));
    }
    if (Ask(nvml.utilization, device, &utilization)) {
      AddSample(load, labels, utilization.gpu / 100.0);
    }
    if (Ask(nvml.power, device, &number)) AddSample(power, labels, number / 1000.0);
    if (Ask(nvml.energy, device, &big_number)) {
      AddSample(energy, labels, static_cast<double>(big_number) / 1000);
    }
    if (Ask(nvml.temperature, device, kGpuSensor, &number)) AddSample(heat, labels, number);
  }
};

// Runs on the sampler's thread. The library is loaded at the first scrape, not at start.
std::vector<MetricFamily> AskGpus() {
  static const Nvml* const nvml = Load();
  unsigned devices = 0;
  if (nvml == nullptr || !Ask(nvml->count, &devices)) return {};
  GpuFamilies families;
  // By NVML's index, which CUDA_VISIBLE_DEVICES does not change.
  for (unsigned i = 0; i < devices; ++i) {
    Nvml::Device device = nullptr;
    if (Ask(nvml->by_index, i, &device)) families.Add(*nvml, device, {{"gpu", std::to_string(i)}});
  }
  // A family without samples would only be noise.
  std::vector<MetricFamily> with_samples;
  for (MetricFamily* family : {&families.used, &families.total, &families.load, &families.power,
                               &families.energy, &families.heat}) {
    if (!family->metric.empty()) with_samples.push_back(std::move(*family));
  }
  return with_samples;
}

}  // namespace

GpuMetrics::GpuMetrics() : sampler_(AskGpus) {}

// A driver in trouble may hang for minutes; the scrape then goes without these.
std::vector<MetricFamily> GpuMetrics::Collect() const {
  return sampler_.Fresh(kPatience).value_or(std::vector<MetricFamily>());
}

}  // namespace ftd
