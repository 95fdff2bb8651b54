#include "server/host/gpus.h"

#include <dlfcn.h>

#include "lib/base/utf8.h"

namespace ftd {
namespace {

// The part of nvml.h that is used, after NVML's API reference; 0 is NVML_SUCCESS everywhere.
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
  int (*name)(Device device, char* name, unsigned length);
  int (*memory)(Device device, Memory* memory);
  int (*utilization)(Device device, Utilization* utilization);
  int (*power)(Device device, unsigned* milliwatts);
  int (*energy)(Device device, unsigned long long* millijoules);
  int (*temperature)(Device device, int sensor, unsigned* celsius);
};

constexpr int kGpuSensor = 0;          // NVML_TEMPERATURE_GPU
constexpr unsigned kLongestName = 96;  // NVML_DEVICE_NAME_V2_BUFFER_SIZE

template <typename Function>
void Find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
}

// Null when the library is missing, too old to know its GPUs, or finds no driver. Never unloaded,
// as the driver keeps threads.
const Nvml* Load() {
  void* const library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return nullptr;
  auto* const nvml = new Nvml;
  Find(library, "nvmlInit_v2", nvml->init);
  Find(library, "nvmlDeviceGetCount_v2", nvml->count);
  Find(library, "nvmlDeviceGetHandleByIndex_v2", nvml->by_index);
  Find(library, "nvmlDeviceGetName", nvml->name);
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

// Whether the function exists and succeeded.
template <typename Function, typename... Arguments>
bool Ask(Function* function, Arguments... arguments) {
  return function != nullptr && function(arguments...) == 0;
}

Gpu Describe(const Nvml& nvml, unsigned index, Nvml::Device device) {
  Gpu gpu{.index = static_cast<int>(index)};
  char name[kLongestName] = {};
  Nvml::Memory memory = {};
  Nvml::Utilization utilization = {};
  unsigned number = 0;
  unsigned long long big_number = 0;
  if (Ask(nvml.name, device, name, kLongestName)) gpu.name = RepairUtf8(name);
  // A total of zero is how a GPU that shares the host's memory answers on some drivers.
  if (Ask(nvml.memory, device, &memory) && memory.total > 0) {
    gpu.memory_used_bytes = static_cast<int64_t>(memory.used);
    gpu.memory_total_bytes = static_cast<int64_t>(memory.total);
  }
  if (Ask(nvml.utilization, device, &utilization)) gpu.utilization = utilization.gpu / 100.0;
  if (Ask(nvml.power, device, &number)) gpu.power_watts = number / 1000.0;
  if (Ask(nvml.energy, device, &big_number)) {
    gpu.energy_joules = static_cast<double>(big_number) / 1000;
  }
  if (Ask(nvml.temperature, device, kGpuSensor, &number)) gpu.temperature_celsius = number;
  return gpu;
}

}  // namespace

std::vector<Gpu> AskGpus() {
  static const Nvml* const nvml = Load();
  unsigned devices = 0;
  if (nvml == nullptr || !Ask(nvml->count, &devices)) return {};
  std::vector<Gpu> gpus;
  for (unsigned i = 0; i < devices; ++i) {
    Nvml::Device device = nullptr;
    if (Ask(nvml->by_index, i, &device)) gpus.push_back(Describe(*nvml, i, device));
  }
  return gpus;
}

}  // namespace ftd
