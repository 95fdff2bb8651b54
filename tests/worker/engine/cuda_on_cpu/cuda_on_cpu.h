// As much of CUDA C++ as the kernels of worker/engine/ops/ use, on the CPU and without a toolkit:
// a machine without a GPU runs the kernels' own source. CMakeLists.txt turns their launches into
// calls of Launch.
//
// A block's threads are coroutines of one OS thread, resumed one after another. Each block has
// shared memory of its own, zeroed, so what a kernel reads before any thread wrote it shows. Not
// shown: races within a warp, the device's own arithmetic (__expf, contraction), and whatever
// depends on time.
#pragma once

#include <cstdint>
#include <functional>

// NOLINTBEGIN(bugprone-reserved-identifier): these names are CUDA's.
#define __global__
#define __device__
#define __shared__ static thread_local
#define __launch_bounds__(threads)

struct dim3 {
  unsigned x = 0, y = 0, z = 0;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};

extern thread_local dim3 threadIdx, blockIdx;

inline void __stwb(uint4* to, uint4 value) { *to = value; }

// Waits for the whole block. All of a block's threads must come to each of these: the real ones
// let threads leave before, which no kernel of ours needs.
void __syncthreads();
int __syncthreads_or(int predicate);

// Waits for the whole warp; `mask` must name all of it.
float __shfl_xor_sync(unsigned mask, float value, int lane_mask);
// NOLINTEND(bugprone-reserved-identifier)

namespace ftd::cuda_on_cpu {

// Runs `thread` for each thread of each block; one launch in ascending order, the next in
// descending and the third in a shuffled one. Ends the process with a message where a GPU would
// refuse the launch, and where threads wait for others that never come.
void RunBlocks(unsigned blocks, unsigned threads, const std::function<void()>& thread);

template <typename... Parameters, typename... Arguments>
void Launch(unsigned blocks, unsigned threads, void (*kernel)(Parameters...),
            Arguments... arguments) {
  RunBlocks(blocks, threads, [&] { kernel(arguments...); });
}

}  // namespace ftd::cuda_on_cpu
