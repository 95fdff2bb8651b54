// worker/engine/device/device.cc's place.
#include "worker/engine/device/device.h"

#include <ATen/Parallel.h>

#include <string>

#include "tests/worker/engine/fake_gpu/fake_gpu.h"
#include "worker/engine/train.h"

namespace ftd::engine {
namespace {

bool use_fake_gpu = false;
int64_t fake_gpu_free_bytes = int64_t{80} << 30;

}  // namespace

void UseFakeGpu(bool use) {
  // Matrices of a few rows: on a busy machine two threads would wait for each other most of the
  // time.
  at::set_num_threads(1);
  use_fake_gpu = use;
}

void SetFreeBytesOfFakeGpu(int64_t bytes) { fake_gpu_free_bytes = bytes; }

c10::Device TrainingDevice() {
  return use_fake_gpu ? c10::Device(c10::kCUDA, 0) : c10::Device(c10::kCPU);
}

std::string DeviceName() { return use_fake_gpu ? "cuda:0" : "cpu"; }
bool DeviceSharesHostMemory() { return false; }
double DevicePeakFlops(Dtype /*dtype*/) { return 0; }
int ThreadCount() { return at::get_num_threads(); }
bool DeviceHasFlashAttention() { return true; }
void InitializeProcess() {}
void SetDeterministic(bool /*deterministic*/) {}
int64_t FreeDeviceMemory() { return fake_gpu_free_bytes; }
int64_t PeakDeviceMemory() { return 0; }
void KeepBuffers() {}

}  // namespace ftd::engine
