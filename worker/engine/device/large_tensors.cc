#include "worker/engine/device/large_tensors.h"

#include <c10/core/CPUAllocator.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <unordered_map>

#include "lib/base/ceil_div.h"
#include "lib/plan/heap.h"
#include "lib/plan/tally.h"

namespace ftd::engine {
namespace {

constexpr int64_t kLarge = int64_t{1} << 20;    // bytes of a tensor that is placed here
constexpr int64_t kGrowth = int64_t{64} << 20;  // bytes that become usable at a time

int64_t HostBytes() {
  struct sysinfo host {};
  ::sysinfo(&host);
  return static_cast<int64_t>((host.totalram + host.totalswap) * host.mem_unit);
}

// Addresses, without memory behind them until they are used: as many as the host has bytes, or
// fewer where a limit on the process's address space asks for it.
class Area {
 public:
  Area() {
    for (reserved_ = CeilDiv(HostBytes(), kGrowth) * kGrowth; reserved_ > 0;
         reserved_ = reserved_ / kGrowth / 2 * kGrowth) {
      void* address = ::mmap(nullptr, static_cast<size_t>(reserved_), PROT_NONE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (address == MAP_FAILED) continue;
      start_ = static_cast<char*>(address);
      return;
    }
  }

  char* start() const { return start_; }
  bool Holds(const void* address) const {
    return address >= start_ && address < start_ + reserved_;
  }

  // Returns whether the first `bytes` can be used, which it sees to.
  bool Reach(int64_t bytes) {
    if (bytes <= usable_) return true;
    const int64_t wanted = CeilDiv(bytes, kGrowth) * kGrowth;
    if (wanted > reserved_) return false;
    if (::mprotect(start_ + usable_, static_cast<size_t>(wanted - usable_),
                   PROT_READ | PROT_WRITE) != 0)
      return false;
    usable_ = wanted;
    return true;
  }

 private:
  char* start_ = nullptr;
  int64_t reserved_ = 0, usable_ = 0;
};

// What does not fit into the area, and what is small, is LibTorch's own allocator's.
class LargeTensors : public c10::Allocator {
 public:
  static LargeTensors& Instance() {
    static auto* const instance = new LargeTensors;  // tensors may outlive everything else
    return *instance;
  }

  c10::DataPtr allocate(size_t bytes) override {
    void* data =
        static_cast<int64_t>(bytes) < kLarge ? nullptr : Place(static_cast<int64_t>(bytes));
    if (data == nullptr) return others_->allocate(bytes);
    c10::profiledCPUMemoryReporter().New(data, bytes);
    return {data, data, &Delete, c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &Delete; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }

 private:
  static void Delete(void* data) {
    LargeTensors& self = Instance();
    if (!self.area_.Holds(data)) return self.others_->raw_deleter()(data);
    c10::profiledCPUMemoryReporter().Delete(data);
    self.Free(data);
  }

  // Returns null if there is no room.
  void* Place(int64_t bytes) {
    const int64_t whole = CeilDiv(bytes, kAllocatedBlock) * kAllocatedBlock;
    const std::scoped_lock lock(mutex_);
    const int64_t begin = heap_.Place(whole);
    if (!area_.Reach(begin + whole)) {
      heap_.Free(begin, whole);
      return nullptr;
    }
    bytes_[begin] = whole;
    return area_.start() + begin;
  }

  void Free(const void* data) {
    const int64_t begin = static_cast<const char*>(data) - area_.start();
    const std::scoped_lock lock(mutex_);
    const auto block = bytes_.find(begin);
    heap_.Free(begin, block->second);
    bytes_.erase(block);
  }

  c10::Allocator* const others_ = c10::GetDefaultCPUAllocator();
  Area area_;
  std::mutex mutex_;
  Heap heap_;
  std::unordered_map<int64_t, int64_t> bytes_;  // of each block, by where it begins
};

}  // namespace

// AddressSanitizer sees what is wrong with a tensor's address only if the tensor is its own.
void PlaceLargeTensors() {
#ifndef __SANITIZE_ADDRESS__
  c10::SetCPUAllocator(&LargeTensors::Instance(), /*priority=*/1);
#endif
}

}  // namespace ftd::engine
