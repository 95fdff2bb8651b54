// The CPU as the kernels' device: every tensor lies between two pages that nobody may touch, and
// either begins where the first ends or ends where the second begins, as nearly as alignment
// allows: the kernels' order of summation may depend on that, and the GPU's allocations have it
// too.
#include "tests/worker/engine/kernel_device.h"

#include <ATen/ATen.h>
#include <c10/core/CPUAllocator.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <random>

namespace ftd::engine {
namespace {

constexpr unsigned char kUnused = 0xA5;
constexpr size_t kAlignment = 16;

struct Fenced {
  unsigned char* pages = nullptr;  // the first may not be touched, nor the last
  size_t room = 0;                 // bytes between those
  size_t begin = 0, count = 0;     // what of them is the tensor's
};

size_t Page() { return static_cast<size_t>(getpagesize()); }

void Free(void* context) {
  auto* fenced = static_cast<Fenced*>(context);
  const unsigned char* room = fenced->pages + Page();
  const auto unused = [](unsigned char byte) { return byte == kUnused; };
  if (!std::all_of(room, room + fenced->begin, unused) ||
      !std::all_of(room + fenced->begin + fenced->count, room + fenced->room, unused)) {
    std::fputs("cuda_on_cpu: written outside a tensor\n", stderr);
    std::abort();
  }
  munmap(fenced->pages, fenced->room + 2 * Page());
  delete fenced;
}

class FencingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    if (bytes == 0) return {nullptr, c10::kCPU};
    auto* fenced = new Fenced;
    fenced->count = bytes;
    fenced->room = (bytes + Page() - 1) / Page() * Page();
    void* pages =
        mmap(nullptr, fenced->room + 2 * Page(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    fenced->pages = static_cast<unsigned char*>(pages);
    unsigned char* room = fenced->pages + Page();
    if (pages == MAP_FAILED || mprotect(room, fenced->room, PROT_READ | PROT_WRITE) != 0) {
      std::fputs("cuda_on_cpu: no memory for a tensor\n", stderr);
      std::abort();
    }
    const std::lock_guard lock(mutex_);
    if (coin_() % 2 == 0) fenced->begin = (fenced->room - bytes) / kAlignment * kAlignment;
    std::memset(room, kUnused, fenced->begin);
    std::memset(room + fenced->begin + bytes, kUnused, fenced->room - fenced->begin - bytes);
    return {room + fenced->begin, fenced, Free, c10::kCPU};
  }

  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }

 private:
  std::mutex mutex_;
  std::mt19937 coin_{1};
};

}  // namespace

bool HasKernelDevice(const char** /*why*/) {
  static FencingAllocator allocator;
  c10::SetCPUAllocator(&allocator, /*priority=*/255);
  return true;
}

at::Tensor OnKernelDevice(const at::Tensor& tensor) {
  return tensor.clone(at::MemoryFormat::Contiguous);
}

}  // namespace ftd::engine
