// Arithmetic that the CPU and the GPU share, so that tests of the one hold for the other.
#pragma once

#ifdef __CUDACC__
#define FTD_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define FTD_HOST_DEVICE inline
#endif
