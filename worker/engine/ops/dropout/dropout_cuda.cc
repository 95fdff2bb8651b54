#include "worker/engine/ops/dropout/dropout_cuda.h"

#include <ATen/ops/empty_like.h>

#include "worker/engine/device/kernel_call.h"
#include "worker/engine/ops/dropout/dropout_kernel.h"

namespace ftd::engine::cuda {

at::Tensor Dropped(const at::Tensor& x, const DropoutMask& mask) {
  at::Tensor y = at::empty_like(x);
  Check(kDropoutKernels.dropped(x.const_data_ptr(), TypeOf(x.scalar_type()), x.numel(), mask,
                                y.mutable_data_ptr(), CurrentStream(x.device())),
        "Dropped");
  return y;
}

void AddDropped(const at::Tensor& sum, const at::Tensor& x, const DropoutMask& mask) {
  CheckOneDevice({sum, x});
  Check(kDropoutKernels.add_dropped(sum.mutable_data_ptr(), x.const_data_ptr(),
                                    TypeOf(x.scalar_type()), x.numel(), mask,
                                    CurrentStream(x.device())),
        "AddDropped");
}

}  // namespace ftd::engine::cuda
