// launch.cu's place, so that none of the build's own kernels is linked beside these.
#include "worker/engine/device/launch.h"

namespace ftd::engine::cuda {

bool Available() { return true; }
const char* DeviceModel() { return ""; }
int ComputeCapability() { return 0; }
bool SharesHostMemory() { return false; }
const char* LaunchError() { return nullptr; }

}  // namespace ftd::engine::cuda
