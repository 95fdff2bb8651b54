#include "worker/engine/cuda/launch.h"

#include <cuda_runtime_api.h>

namespace ftd::engine::cuda {
namespace {

__global__ void Probe() {}

}  // namespace

bool Available() {
  // Loads the image for the device, if there is one; a device older than any has none.
  cudaFuncAttributes attributes;
  const bool available = cudaFuncGetAttributes(&attributes, Probe) == cudaSuccess;
  cudaGetLastError();  // a failure is answered, and is no later launch's
  return available;
}

const char* DeviceModel() {
  static cudaDeviceProp properties;
  int device = 0;
  const bool known = cudaGetDevice(&device) == cudaSuccess &&
                     cudaGetDeviceProperties(&properties, device) == cudaSuccess;
  cudaGetLastError();
  return known ? properties.name : "";
}

bool SharesHostMemory() {
  int device = 0, integrated = 0;
  const bool known =
      cudaGetDevice(&device) == cudaSuccess &&
      cudaDeviceGetAttribute(&integrated, cudaDevAttrIntegrated, device) == cudaSuccess;
  cudaGetLastError();
  return known && integrated == 1;
}

const char* LaunchError() {
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

}  // namespace ftd::engine::cuda
