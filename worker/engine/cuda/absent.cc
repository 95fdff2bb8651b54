// In place of the .cu files where the build has no nvcc: nothing is available, so nothing is
// launched.
#include "worker/engine/cuda/launch.h"
#include "worker/engine/cuda/loss_tile.h"
#include "worker/engine/cuda/nf4.h"

namespace ftd::engine::cuda {
namespace {

constexpr char kAbsent[] = "built without CUDA kernels";

}  // namespace

bool Available() { return false; }
const char* DeviceModel() { return ""; }
bool SharesHostMemory() { return false; }
const char* LaunchError() { return kAbsent; }
const char* DequantizeNf4(const Nf4Pointers&, void*, Type, int64_t, Stream) { return kAbsent; }
const char* QuantizeNf4(const void*, Type, Type, int64_t, uint8_t*, float*, Stream) {
  return kAbsent;
}
const char* LossTile(void*, Type, const int64_t*, int64_t, int32_t, float*, Stream) {
  return kAbsent;
}

}  // namespace ftd::engine::cuda
