#include "worker/engine/cuda_kernels.h"

#include <ATen/ops/empty.h>
#include <c10/core/Stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <string>

#include "worker/engine/cuda/loss_tile.h"
#include "worker/engine/cuda/nf4.h"
#include "worker/engine/train.h"

namespace ftd::engine::cuda {
namespace {

// Through c10's registry, so that nothing of CUDA need be linked.
Stream CurrentStream(c10::Device device) {
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

void Check(const char* error, const char* what) {
  if (error == nullptr) return;
  throw EngineError(EngineError::Kind::kInternal,
                    std::string("CUDA kernel ") + what + " did not start: " + error);
}

}  // namespace

bool Serves(c10::Device device) {
  if (!device.is_cuda()) return false;
  static const bool available = Available();
  return available;
}

void DequantizeNf4(const Nf4Tensor& q, const at::Tensor& out) {
  const bool nested = q.absmax.scalar_type() == at::kByte;
  Nf4Pointers pointers{};
  pointers.codes = q.codes.const_data_ptr<uint8_t>();
  if (nested) {
    pointers.absmax = q.absmax.const_data_ptr<uint8_t>();
    pointers.nested_absmax = q.nested_absmax.const_data_ptr<float>();
    pointers.nested_map = q.nested_map.const_data_ptr<float>();
    pointers.nested_offset = q.nested_offset;
  } else {
    pointers.scales = q.absmax.const_data_ptr<float>();
  }
  Check(DequantizeNf4(pointers, out.mutable_data_ptr(), TypeOf(out.scalar_type()), q.rows * q.cols,
                      CurrentStream(out.device())),
        "DequantizeNf4");
}

void QuantizeNf4Blocks(const at::Tensor& weight, at::ScalarType dtype, const at::Tensor& codes,
                       const at::Tensor& scales) {
  Check(QuantizeNf4(weight.const_data_ptr(), TypeOf(weight.scalar_type()), TypeOf(dtype),
                    weight.numel(), codes.mutable_data_ptr<uint8_t>(),
                    scales.mutable_data_ptr<float>(), CurrentStream(weight.device())),
        "QuantizeNf4");
}

at::Tensor CrossEntropyInPlace(const at::Tensor& logits, const at::Tensor& targets) {
  const at::Tensor row_sums =
      at::empty({logits.size(0), kRowSums}, logits.options().dtype(at::kFloat));
  Check(LossTile(logits.mutable_data_ptr(), TypeOf(logits.scalar_type()),
                 targets.const_data_ptr<int64_t>(), logits.size(0),
                 static_cast<int32_t>(logits.size(1)), row_sums.mutable_data_ptr<float>(),
                 CurrentStream(logits.device())),
        "LossTile");
  return row_sums.sum(0, /*keepdim=*/false, at::kDouble);
}

}  // namespace ftd::engine::cuda
