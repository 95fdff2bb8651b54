// Takes the place of launch.cu where the build has no nvcc: nothing is available, so nothing is
// launched.
#include "worker/engine/device/launch.h"

namespace ftd::engine::cuda {

bool Available() { return false; }
const char* DeviceModel() { return ""; }
int ComputeCapability() { return 0; }
bool SharesHostMemory() { return false; }
const char* LaunchError() { return "built without CUDA kernels"; }

}  // namespace ftd::engine::cuda
