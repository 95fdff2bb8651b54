// The memory of the CPU's tensors, as LibTorch's allocator reports it.
#pragma once

#include <c10/core/Allocator.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace ftd::testing {

// Counts the tensors of the thread that a c10::DebugInfoGuard of kind PROFILER_STATE sets it for.
class CountedMemory : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void* /*ptr*/, int64_t bytes, size_t /*allocated*/, size_t /*reserved*/,
                         c10::Device /*device*/) override {
    now_ += bytes;
    peak_ = std::max(peak_, now_);
  }
  bool memoryProfilingEnabled() const override { return true; }

  // Bytes now, and the most that there ever were, or since Restart.
  int64_t now() const { return now_; }
  int64_t peak() const { return peak_; }
  void Restart() { peak_ = now_; }

 private:
  int64_t now_ = 0, peak_ = 0;
};

}  // namespace ftd::testing
