#include "worker/engine/device.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <dlfcn.h>
#include <malloc.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "worker/engine/cuda/launch.h"
#include "worker/engine/flops.h"
#include "worker/engine/train.h"

namespace ftd::engine {
namespace {

bool CudaIsUsable() {
  if (::access("/dev/nvidiactl", F_OK) != 0) return false;
  // Loading the library registers its kernels and hooks with ATen; nothing of it is called by name.
  if (::dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    std::fprintf(stderr,
                 "warning: a GPU is present, but LibTorch's CUDA libraries do not load (%s); using "
                 "the CPU\n",
                 ::dlerror());
    return false;
  }
  return at::hasCUDA() && at::detail::getCUDAHooks().deviceCount() > 0;
}

// A run that was killed and resumed must give the bits of one that was not, so kernels that add up
// in a random order (the embedding's gradient, attention's backward pass) make way for those that
// do not. An operator that has no such kernel warns: none that a step uses should.
void MakeCudaDeterministic() {
  at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/true);
  // Would fill every new tensor with NaN.
  at::globalContext().setDeterministicFillUninitializedMemory(false);
}

}  // namespace

c10::Device TrainingDevice() {
  static const bool cuda = CudaIsUsable();
  return cuda ? c10::Device(c10::kCUDA, 0) : c10::Device(c10::kCPU);
}

std::string DeviceName() { return TrainingDevice().is_cuda() ? "cuda:0" : "cpu"; }

double DevicePeakFlops(Dtype dtype) {
  return TrainingDevice().is_cuda() ? PeakFlops(cuda::DeviceModel(), dtype) : 0;
}

bool DeviceSharesHostMemory() { return TrainingDevice().is_cuda() && cuda::SharesHostMemory(); }

int ThreadCount() { return at::get_num_threads(); }

void InitializeProcess() {
  // cuBLAS reads it when it is loaded; without it two streams may share a workspace.
  ::setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
  if (TrainingDevice().is_cuda()) MakeCudaDeterministic();
}

void KeepBuffers() {
  ::mallopt(M_MMAP_MAX, 0);
  ::mallopt(M_TRIM_THRESHOLD, -1);  // never
  ::mallopt(M_TOP_PAD, 64 << 20);
}

}  // namespace ftd::engine
