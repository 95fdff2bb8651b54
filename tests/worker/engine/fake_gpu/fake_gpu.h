// A CUDA device that is none. Its tensors lie in the host's memory; ATen's operators on them are
// the CPU's, and fail where an argument was left on the host; the engine's own kernels run by
// cuda_on_cpu. New tensors hold NaN. It takes device.cc's and launch.cu's place in a test's
// program.
//
// It shows that the engine's ways for a GPU hand every operator what it needs and come to the CPU's
// results. It cannot show what CUDA's own operators do.
#pragma once

#include <cstdint>

namespace ftd::engine {

// What the host asked of the device since ResetFakeGpuCounts, and what the device's tensors take.
struct FakeGpuCounts {
  int64_t operators = 0;   // ATen's, whatever kernels a real device runs for one
  int64_t kernels = 0;     // launches of the engine's own
  int64_t copies_in = 0;   // from the host, other than of single numbers
  int64_t copies_out = 0;  // to the host
  int64_t waits =
      0;  // of the host for the device: copies out, and copies in of memory that is not pinned
  int64_t bytes = 0;       // now, in the allocator's blocks of 512
  int64_t peak_bytes = 0;  // the most since then
};

FakeGpuCounts CountsOfFakeGpu();

// Sets the counts to zero, and the bytes and their peak to those that are allocated now.
void ResetFakeGpuCounts();

// Which device TrainingDevice() names from now on; the CPU at first.
void UseFakeGpu(bool use);

// What it says is free of its memory; 80 GiB at first.
void SetFreeBytesOfFakeGpu(int64_t bytes);

// The free memory of which ActivationBudget leaves so many bytes.
constexpr int64_t FreeBytesFor(int64_t bytes) {
  return (bytes + (int64_t{1} << 30)) * 32 / 31 + 32;
}

// How many bytes its tensors may take in all; no limit at first.
void SetMemoryOfFakeGpu(int64_t bytes);

}  // namespace ftd::engine
