#include "worker/engine/device/kernel_call.h"

#include <c10/core/Stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <string>
#include <string_view>

#include "worker/engine/error.h"

namespace ftd::engine::cuda {

// Through c10's registry, so that nothing of CUDA need be linked. The CPU, where cuda_on_cpu's
// kernels run, has none.
Stream CurrentStream(c10::Device device) {
  if (device.is_cpu()) return nullptr;
  const c10::impl::VirtualGuardImpl guard(device.type());
  return static_cast<Stream>(guard.getStream(device).native_handle());
}

Type TypeOf(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return Type::kFloat32;
    case at::kBFloat16:
      return Type::kBfloat16;
    case at::kHalf:
      return Type::kFloat16;
    default:
      throw EngineError(EngineError::Kind::kInternal, "no CUDA kernel for this dtype");
  }
}

void CheckOneDevice(at::TensorList tensors) {
  for (const at::Tensor& tensor : tensors) {
    if (tensor.device() != tensors[0].device())
      throw EngineError(EngineError::Kind::kInternal, "a CUDA kernel was given the host's memory");
  }
}

void Check(const char* error, const char* what) {
  if (error == nullptr) return;
  // The first launch of a kernel loads its code, for which a full device has no room.
  const bool full = std::string_view(error) == "out of memory";
  throw EngineError(
      full ? EngineError::Kind::kOutOfMemory : EngineError::Kind::kInternal,
      std::string("CUDA kernel ") + what + " did not start, or one before it failed: " + error);
}

bool Serves(c10::Device device) {
  if (!device.is_cuda()) return false;
  // Asked once: the answer is the same for the life of the process, and every operator asks.
  static const bool available = Available();
  return available;
}

}  // namespace ftd::engine::cuda
