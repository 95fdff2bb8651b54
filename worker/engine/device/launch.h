// The parts that the operators' kernels share. Their headers need nothing of CUDA's. An operator's
// .cu file offers its launchers as a table of function pointers, such as kRopeKernels; where the
// build has no nvcc, CMake defines the table with null pointers, and Available() keeps them from
// being called.
//
// Each launcher queues its work on `stream` and returns at once: nullptr, or CUDA's words for why
// the launch failed. Pointers are the device's, unless a comment says otherwise.
#pragma once

struct CUstream_st;

namespace ftd::engine::cuda {

using Stream = CUstream_st*;  // cudaStream_t

enum class Type { kFloat32, kBfloat16, kFloat16 };

// Returns whether the build has kernels that run on the current device.
bool Available();

// Returns CUDA's name for the current device, such as "NVIDIA H100 80GB HBM3"; empty without one.
// Not thread-safe.
const char* DeviceModel();

// Returns the current device's compute capability as 10 · major + minor, such as 90; 0 where it is
// not known.
int ComputeCapability();

// Returns whether the current device's memory is the host's.
bool SharesHostMemory();

// Returns CUDA's words for why the launch just made failed; nullptr if it did not.
const char* LaunchError();

}  // namespace ftd::engine::cuda
