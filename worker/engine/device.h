// Where tensors live.
#pragma once

#include <ATen/core/Tensor.h>

namespace ftd::engine {

// The GPU when there is one, else the CPU. LibTorch's CUDA libraries are loaded at run time, on
// first use, and only where the NVIDIA driver's device node exists: a machine without a GPU pays
// nothing for them, neither at build nor at start.
c10::Device TrainingDevice();

}  // namespace ftd::engine
