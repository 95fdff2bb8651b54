// In place of the .cu files where the build has no nvcc: nothing is available, so nothing is
// launched.
#include "worker/engine/device/launch.h"
#include "worker/engine/ops/dropout/dropout_kernel.h"
#include "worker/engine/ops/glu/swiglu_kernel.h"
#include "worker/engine/ops/loss/loss_tile.h"
#include "worker/engine/ops/nf4/nf4_kernel.h"
#include "worker/engine/ops/norm/rms_norm.h"
#include "worker/engine/ops/rope/rope_kernel.h"

namespace ftd::engine::cuda {
namespace {

constexpr char kAbsent[] = "built without CUDA kernels";

}  // namespace

bool Available() { return false; }
const char* DeviceModel() { return ""; }
int ComputeCapability() { return 0; }
bool SharesHostMemory() { return false; }
const char* LaunchError() { return kAbsent; }
const char* DequantizeNf4(const Nf4Pointers&, void*, Type, int64_t, Stream) { return kAbsent; }
const char* QuantizeNf4(const void*, Type, Type, int64_t, uint8_t*, float*, Stream) {
  return kAbsent;
}
const char* LossTile(void*, Type, const int64_t*, int64_t, int32_t, float*, Stream) {
  return kAbsent;
}
const char* RmsNormForward(const void*, const void*, Type, int64_t, int64_t, float, float*, void*,
                           Stream) {
  return kAbsent;
}
const char* RmsNormRecompute(const void*, const void*, Type, int64_t, int64_t, const float*, void*,
                             Stream) {
  return kAbsent;
}
const char* RmsNormBackward(const void*, const void*, const float*, const void*, const void*, Type,
                            int64_t, int64_t, void*, Stream) {
  return kAbsent;
}
const char* AddRmsNormWeightGrad(const void*, const float*, const void*, Type, int64_t, int64_t,
                                 float*, void*, Type, Stream) {
  return kAbsent;
}
const char* RotateBack(const QkvGradient&, Type, const void*, const void*, void*, Stream) {
  return kAbsent;
}
const char* Dropped(const void*, Type, int64_t, const DropoutMask&, void*, Stream) {
  return kAbsent;
}
const char* AddDropped(void*, const void*, Type, int64_t, const DropoutMask&, Stream) {
  return kAbsent;
}
const char* ApplyRope(const RopeHeads&, Type, const void*, const void*, bool, Stream) {
  return kAbsent;
}
const char* SwigluForward(const void*, Type, int64_t, int64_t, void*, Stream) { return kAbsent; }
const char* SwigluBackward(const void*, const void*, Type, int64_t, int64_t, void*, Stream) {
  return kAbsent;
}

}  // namespace ftd::engine::cuda
