#include "worker/engine/device/device.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <dlfcn.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "lib/base/host_memory.h"
#include "lib/plan/flops.h"
#include "worker/engine/device/large_tensors.h"
#include "worker/engine/device/launch.h"
#include "worker/engine/train.h"

namespace ftd::engine {
namespace {

// Returns whether to train on a GPU. The driver's control node exists wherever the driver is
// loaded, and looking for it costs a machine without a GPU one system call.
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

int64_t memory_at_start = 0;

// Sums of products stay in float32 to their end, however a product is split up.
void ForbidShortSums() {
  at::Context& context = at::globalContext();
  context.setAllowBF16ReductionCuBLAS(false);
  context.setAllowFP16ReductionCuBLAS(false);
}

// Sets cuBLAS's workspace, which it reads when it is loaded. Its results depend on the order of
// streams' use of a workspace unless it has one of these sizes for each, and deterministic
// algorithms refuse any other.
void SetCublasWorkspace() {
  constexpr char kName[] = "CUBLAS_WORKSPACE_CONFIG";
  const char* set = std::getenv(kName);
  const std::string_view value = set == nullptr ? "" : set;
  if (value == ":4096:8" || value == ":16:8") return;
  if (!value.empty()) {
    std::fprintf(stderr, "warning: %s=%s is not deterministic; using :4096:8\n", kName, set);
  }
  ::setenv(kName, ":4096:8", /*overwrite=*/1);
}

// Lets the allocator's segments grow. Each batch has another number of tokens, and so blocks of
// other sizes: segments that grow leave no gaps. The allocator reads the variable, under its old
// name too, when it is loaded.
void SetAllocator() {
  if (std::getenv("PYTORCH_CUDA_ALLOC_CONF") == nullptr)
    ::setenv("PYTORCH_ALLOC_CONF", "expandable_segments:True", /*overwrite=*/0);
}

// Bounds the caches of oneDNN and of ideep, which PyTorch calls it through. They keep the code of
// each bfloat16 product for its shape, some 600 KB each and 1,024 of them, and each batch has
// another number of tokens: 64 serve all layers of a batch. Both read the variables at first use.
void BoundKernelCaches() {
  ::setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64", /*overwrite=*/0);
  ::setenv("LRU_CACHE_CAPACITY", "1", /*overwrite=*/0);
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

bool DeviceHasFlashAttention() {
  static const int capability = cuda::ComputeCapability();
  return TrainingDevice().is_cuda() && (capability == 0 || capability >= 80);
}

// Strictly: with warnings alone, attention's backward pass would continue to add up dQ in any
// order. An operator that has no deterministic kernel throws: none that a step uses does.
void SetDeterministic(bool deterministic) {
  if (!TrainingDevice().is_cuda()) return;
  at::Context& context = at::globalContext();
  context.setDeterministicAlgorithms(deterministic, /*warn_only=*/false);
  context.setDeterministicFillUninitializedMemory(false);  // would fill every new tensor with NaN
}

void InitializeProcess() {
  // Both before anything loads CUDA's libraries, which read the environment once.
  SetCublasWorkspace();
  SetAllocator();
  if (!TrainingDevice().is_cuda()) {
    BoundKernelCaches();
    memory_at_start = ProcessMemory().now;
    return PlaceLargeTensors();
  }
  SetDeterministic(true);
  ForbidShortSums();
}

int64_t FreeDeviceMemory() {
  const c10::Device device = TrainingDevice();
  c10::DeviceAllocator* allocator = c10::getDeviceAllocator(device.type());
  // Cached blocks are free for us but not for the driver, whose figure is asked for.
  allocator->emptyCache();
  // On a device that shares the host's memory, the page cache makes room.
  if (DeviceSharesHostMemory()) return AvailableHostMemory();
  return static_cast<int64_t>(allocator->getMemoryInfo(device.index()).first);
}

int64_t PeakDeviceMemory() {
  const c10::Device device = TrainingDevice();
  if (!device.is_cuda()) return std::max<int64_t>(0, ProcessMemory().peak - memory_at_start);
  const auto stats = c10::getDeviceAllocator(device.type())->getDeviceStats(device.index());
  constexpr size_t kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  return stats.allocated_bytes[kAll].peak;
}

// Without mmap, large blocks come from the heap too, which never shrinks and grows by 64 MiB more
// than is asked for.
void KeepBuffers() {
  ::mallopt(M_MMAP_MAX, 0);
  ::mallopt(M_TRIM_THRESHOLD, -1);  // never
  ::mallopt(M_TOP_PAD, 64 << 20);
}

}  // namespace ftd::engine
