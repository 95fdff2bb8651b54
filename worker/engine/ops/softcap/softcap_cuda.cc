#include "worker/engine/ops/softcap/softcap_cuda.h"

#include "worker/engine/device/kernel_call.h"
#include "worker/engine/ops/softcap/softcap_kernel.h"

namespace ftd::engine::cuda {

void SoftcapForward(const at::Tensor& z, double softcap) {
  Check(kSoftcapKernels.forward(z.mutable_data_ptr(), TypeOf(z.scalar_type()), z.numel(),
                                static_cast<float>(softcap), CurrentStream(z.device())),
        "SoftcapForward");
}

void SoftcapBackward(const at::Tensor& grad, const at::Tensor& capped, double softcap) {
  CheckOneDevice({grad, capped});
  Check(kSoftcapKernels.backward(grad.mutable_data_ptr(), capped.const_data_ptr(),
                                 TypeOf(grad.scalar_type()), grad.numel(),
                                 static_cast<float>(softcap), CurrentStream(grad.device())),
        "SoftcapBackward");
}

}  // namespace ftd::engine::cuda
