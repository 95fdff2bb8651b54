// Arithmetic that the CPU and the GPU share, so that one of them vouches for the other.
#pragma once

#ifdef __CUDACC__
#define FTD_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define FTD_HOST_DEVICE inline
#endif
