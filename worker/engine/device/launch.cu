#include "worker/engine/device/launch.h"

#include <cuda_runtime_api.h>

namespace ftd::engine::cuda {
namespace {

// Does nothing and is never launched: asking for its attributes shows whether the build has an
// image for the device.
__global__ void Probe() {}

// Returns an attribute of the current device; 0 without one.
int Attribute(cudaDeviceAttr attribute) {
  int device = 0, value = 0;
  const bool known = cudaGetDevice(&device) == cudaSuccess &&
                     cudaDeviceGetAttribute(&value, attribute, device) == cudaSuccess;
  cudaGetLastError();  // a failure is answered, and is no later launch's
  return known ? value : 0;
}

}  // namespace

bool Available() {
  // Loads the image for the device, if there is one; a device older than any has none.
  cudaFuncAttributes attributes;
  const bool available = cudaFuncGetAttributes(&attributes, Probe) == cudaSuccess;
  cudaGetLastError();  // a failure is answered, and is no later launch's
  return available;
}

const char* DeviceModel() {
  // Static, because the name that is returned lies in it.
  static cudaDeviceProp properties;
  int device = 0;
  const bool known = cudaGetDevice(&device) == cudaSuccess &&
                     cudaGetDeviceProperties(&properties, device) == cudaSuccess;
  cudaGetLastError();
  return known ? properties.name : "";
}

int ComputeCapability() {
  return 10 * Attribute(cudaDevAttrComputeCapabilityMajor) +
         Attribute(cudaDevAttrComputeCapabilityMinor);
}

bool SharesHostMemory() { return Attribute(cudaDevAttrIntegrated) == 1; }

const char* LaunchError() {
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

}  // namespace ftd::engine::cuda
