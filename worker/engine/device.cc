#include "worker/engine/device.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <dlfcn.h>
#include <malloc.h>
#include <unistd.h>

#include <cstdio>
#include <limits>

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

}  // namespace

c10::Device TrainingDevice() {
  static const bool cuda = CudaIsUsable();
  return cuda ? c10::Device(c10::kCUDA, 0) : c10::Device(c10::kCPU);
}

std::string DeviceName() { return TrainingDevice().is_cuda() ? "cuda:0" : "cpu"; }

int ThreadCount() { return at::get_num_threads(); }

void InitializeProcess() {
  // A step allocates and frees the same large buffers again and again. glibc would hand each back
  // to the kernel and fault it in anew, which costs a fifth of a step on the CPU.
  ::mallopt(M_MMAP_MAX, 0);
  ::mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
  ::mallopt(M_TOP_PAD, 64 << 20);
  TrainingDevice();
}

}  // namespace ftd::engine
