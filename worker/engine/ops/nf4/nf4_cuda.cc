#include "worker/engine/ops/nf4/nf4_cuda.h"

#include "worker/engine/device/kernel_call.h"
#include "worker/engine/ops/nf4/nf4_kernel.h"

namespace ftd::engine::cuda {

void DequantizeNf4(const Nf4Tensor& q, const at::Tensor& out) {
  // A byte per scale means double quantisation; float32 scales are used as they are.
  const bool nested = q.absmax.scalar_type() == at::kByte;
  CheckOneDevice({out, q.codes, q.absmax});
  if (nested) CheckOneDevice({out, q.nested_absmax, q.nested_map});
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
  Check(kNf4Kernels.dequantize(pointers, out.mutable_data_ptr(), TypeOf(out.scalar_type()),
                               q.rows * q.cols, CurrentStream(out.device())),
        "DequantizeNf4");
}

void QuantizeNf4Blocks(const at::Tensor& weight, at::ScalarType dtype, const at::Tensor& codes,
                       const at::Tensor& scales) {
  // Two dtypes: the one that the file has, and the compute dtype that each element is rounded to
  // first.
  CheckOneDevice({weight, codes, scales});
  Check(kNf4Kernels.quantize(weight.const_data_ptr(), TypeOf(weight.scalar_type()), TypeOf(dtype),
                             weight.numel(), codes.mutable_data_ptr<uint8_t>(),
                             scales.mutable_data_ptr<float>(), CurrentStream(weight.device())),
        "QuantizeNf4");
}

}  // namespace ftd::engine::cuda
