// An NVML of two GPUs, for tests: FTD_FAKE_NVML=unified is a DGX Spark's, whose memory it does not
// tell; FTD_FAKE_NVML=none has no driver under it; FTD_FAKE_NVML=hangs lets each question about
// heat hang.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <thread>

namespace {

// Of nvmlReturn_t.
enum { kSuccess = 0, kInvalidArgument = 2, kNotSupported = 3, kDriverNotLoaded = 9 };

struct Memory {
  unsigned long long total, free, used;
};
struct Utilization {
  unsigned gpu, memory;
};

char devices[2];

bool Is(std::string_view kind) {
  const char* wanted = std::getenv("FTD_FAKE_NVML");
  return wanted != nullptr && kind == wanted;
}

}  // namespace

extern "C" {

int nvmlInit_v2() { return Is("none") ? kDriverNotLoaded : kSuccess; }

int nvmlDeviceGetCount_v2(unsigned* count) {
  *count = 2;
  return kSuccess;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** device) {
  if (index >= 2) return kInvalidArgument;
  *device = &devices[index];
  return kSuccess;
}

int nvmlDeviceGetName(void* device, char* name, unsigned length) {
  std::snprintf(name, length, "Fake GPU %d", device == &devices[0] ? 80 : 81);
  return kSuccess;
}

int nvmlDeviceGetMemoryInfo(void*, Memory* memory) {
  if (Is("unified")) return kNotSupported;
  memory->total = 80ULL << 30;
  memory->used = 3ULL << 30;
  memory->free = memory->total - memory->used;
  return kSuccess;
}

int nvmlDeviceGetUtilizationRates(void* device, Utilization* utilization) {
  utilization->gpu = device == &devices[0] ? 87 : 0;
  utilization->memory = 55;
  return kSuccess;
}

int nvmlDeviceGetPowerUsage(void*, unsigned* milliwatts) {
  *milliwatts = 412500;
  return kSuccess;
}

int nvmlDeviceGetTotalEnergyConsumption(void*, unsigned long long* millijoules) {
  using std::chrono::duration_cast, std::chrono::milliseconds;
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  *millijoules = 400 * static_cast<unsigned long long>(duration_cast<milliseconds>(now).count());
  return kSuccess;
}

int nvmlDeviceGetTemperature(void*, int sensor, unsigned* celsius) {
  if (sensor != 0) return kInvalidArgument;
  if (Is("hangs")) std::this_thread::sleep_for(std::chrono::hours(1));
  *celsius = 61;
  return kSuccess;
}

}  // extern "C"
