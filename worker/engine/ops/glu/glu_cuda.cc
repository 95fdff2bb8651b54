#include "worker/engine/ops/glu/glu_cuda.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "worker/engine/device/kernel_call.h"
#include "worker/engine/ops/glu/glu_kernel.h"

namespace ftd::engine::cuda {

at::Tensor GluForward(const at::Tensor& gate_up, Activation activation) {
  at::Tensor a = at::empty({gate_up.size(0), gate_up.size(1) / 2}, gate_up.options());
  Check(kGluKernels.forward(activation, gate_up.const_data_ptr(), TypeOf(gate_up.scalar_type()),
                            a.size(0), a.size(1), a.mutable_data_ptr(), CurrentStream(a.device())),
        "GluForward");
  return a;
}

at::Tensor GluBackward(const at::Tensor& gate_up, const at::Tensor& da, Activation activation) {
  CheckOneDevice({gate_up, da});
  at::Tensor d_gate_up = at::empty_like(gate_up);
  Check(kGluKernels.backward(activation, gate_up.const_data_ptr(), da.const_data_ptr(),
                             TypeOf(da.scalar_type()), da.size(0), da.size(1),
                             d_gate_up.mutable_data_ptr(), CurrentStream(da.device())),
        "GluBackward");
  return d_gate_up;
}

}  // namespace ftd::engine::cuda
