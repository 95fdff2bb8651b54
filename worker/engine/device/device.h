// The device that tensors live on.
#pragma once

#include <ATen/core/Tensor.h>

namespace ftd::engine {

// Returns the GPU when there is one, else the CPU. LibTorch's CUDA libraries are loaded at run
// time, on first use, and only where the NVIDIA driver's device node exists: a machine without a
// GPU pays nothing for them, neither at build nor at start.
c10::Device TrainingDevice();

// Sets whether a GPU must add up in an order that is fixed, so that a run that was killed and
// resumed gives the bits of one that was not. On a CPU the order is always the same.
void SetDeterministic(bool deterministic);

// Returns whether the training device has ATen's flash attention, which takes Ampere or newer.
bool DeviceHasFlashAttention();

// Returns the bytes that can still be allocated on the training device, which must be a GPU; memory
// that the allocator keeps for later is given back to the device first.
int64_t FreeDeviceMemory();

// From now on keeps freed memory for the next step. A step allocates and frees the same buffers
// again and again; glibc would hand each back to the kernel and fault it in again, a fifth of a
// step on the CPU. Large tensors have an area of their own there (large_tensors.h). Allocate before
// it all that stays for good, which would leave holes that nothing fits.
void KeepBuffers();

}  // namespace ftd::engine
