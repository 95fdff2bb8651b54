// A CUDA device that is none. Its tensors lie in the host's memory; ATen's operators on them are
// the CPU's, and fail where an argument was left on the host; the engine's own kernels run by
// cuda_on_cpu. New tensors hold NaN. It takes device.cc's and launch.cu's place in a test's
// program.
//
// It shows that the engine's ways for a GPU hand every operator what it needs and come to the CPU's
// results. It cannot show what CUDA's own operators do.
#pragma once

namespace ftd::engine {

// Which device TrainingDevice() names from now on; the CPU at first.
void UseFakeGpu(bool use);

}  // namespace ftd::engine
