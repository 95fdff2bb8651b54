// worker/engine/device.cc's place.
#include "worker/engine/device.h"

#include <ATen/Parallel.h>

#include <string>

#include "tests/worker/fake_gpu/fake_gpu.h"
#include "worker/engine/train.h"

namespace ftd::engine {
namespace {

bool use_fake_gpu = false;

}  // namespace

void UseFakeGpu(bool use) { use_fake_gpu = use; }

c10::Device TrainingDevice() {
  return use_fake_gpu ? c10::Device(c10::kCUDA, 0) : c10::Device(c10::kCPU);
}

std::string DeviceName() { return use_fake_gpu ? "cuda:0" : "cpu"; }
double DevicePeakFlops(Dtype /*dtype*/) { return 0; }
bool DeviceSharesHostMemory() { return false; }
int ThreadCount() { return at::get_num_threads(); }
void InitializeProcess() {}
void KeepBuffers() {}

}  // namespace ftd::engine
