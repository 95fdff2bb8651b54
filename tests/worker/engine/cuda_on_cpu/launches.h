#pragma once

#include <cstdint>

namespace ftd::cuda_on_cpu {

// Kernels launched so far in this process.
int64_t Launches();

}  // namespace ftd::cuda_on_cpu
