#include "worker/engine/ops/loss/loss_cuda.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/sum.h>

#include "worker/engine/device/kernel_call.h"
#include "worker/engine/ops/loss/loss.h"
#include "worker/engine/ops/loss/loss_kernel.h"

namespace ftd::engine::cuda {

at::Tensor CrossEntropyInPlace(const at::Tensor& logits, const at::Tensor& targets,
                               double smoothing) {
  const SmoothedTarget q(smoothing, logits.size(1));
  CheckOneDevice({logits, targets});
  const at::Tensor row_sums =
      at::empty({logits.size(0), kRowSums}, logits.options().dtype(at::kFloat));
  Check(kLossKernels.tile(logits.mutable_data_ptr(), TypeOf(logits.scalar_type()),
                          targets.const_data_ptr<int64_t>(), logits.size(0),
                          static_cast<int32_t>(logits.size(1)), q.at_target, q.everywhere,
                          row_sums.mutable_data_ptr<float>(), CurrentStream(logits.device())),
        "LossTile");
  // Rows are added up in float64 by ATen's reduction, whose order is fixed. The result stays on the
  // device, so the host does not wait here.
  return row_sums.sum(0, /*keepdim=*/false, at::kDouble);
}

}  // namespace ftd::engine::cuda
