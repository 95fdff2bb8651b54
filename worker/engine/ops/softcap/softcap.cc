#include "worker/engine/ops/softcap/softcap.h"
#include "worker/engine/device/kernel_call.h"
#include "worker/engine/ops/softcap/softcap_cuda.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tanh_backward.h>

namespace ftd::engine {

void SoftcapForward(at::Tensor& z, double softcap) {
  if (cuda::Serves(z.device())) return cuda::SoftcapForward(z, softcap);
  z.div_(softcap).tanh_().mul_(softcap);
}

// Autograd's steps: times c, through tanh with the tanh that was kept, by c. The tanh is made again
// from what it became, c · tanh rounded.
void SoftcapBackward(at::Tensor& grad, const at::Tensor& capped, double softcap) {
  if (cuda::Serves(grad.device())) return cuda::SoftcapBackward(grad, capped, softcap);
  at::tanh_backward_out(grad, grad, capped / softcap);
}

}  // namespace ftd::engine
