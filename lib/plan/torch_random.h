// Random numbers that equal PyTorch's, without it.
#pragma once

#include <cstdint>
#include <vector>

namespace ftd {

// Returns torch.randperm(n, generator=torch.Generator().manual_seed(seed)), as PyTorch 2.11 makes
// it on the CPU. Requires: n ≥ 0.
std::vector<int64_t> TorchRandperm(int64_t n, int64_t seed);

}  // namespace ftd
