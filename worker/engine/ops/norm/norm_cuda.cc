#include "worker/engine/ops/norm/norm_cuda.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "lib/base/ceil_div.h"
#include "worker/engine/device/kernel_call.h"
#include "worker/engine/ops/norm/norm_kernel.h"

namespace ftd::engine::cuda {

at::Tensor RmsNormForward(const at::Tensor& x, const NormWeight& weight, double eps,
                          at::Tensor* rstd) {
  CheckOneDevice({x, weight.w});
  at::Tensor y = at::empty_like(x);
  // The statistics stay float32 in every dtype, as LlamaRMSNorm computes them.
  *rstd = at::empty({x.size(0), 1}, x.options().dtype(at::kFloat));
  Check(kNormKernels.rms_forward(x.const_data_ptr(), weight.w.const_data_ptr(), weight.kind,
                                 TypeOf(x.scalar_type()), x.size(0), x.size(1),
                                 static_cast<float>(eps), rstd->mutable_data_ptr<float>(),
                                 y.mutable_data_ptr(), CurrentStream(x.device())),
        "RmsNormForward");
  return y;
}

at::Tensor RmsNormRecompute(const at::Tensor& x, const NormWeight& weight, const at::Tensor& rstd) {
  CheckOneDevice({x, weight.w, rstd});
  at::Tensor y = at::empty_like(x);
  Check(kNormKernels.rms_recompute(x.const_data_ptr(), weight.w.const_data_ptr(), weight.kind,
                                   TypeOf(x.scalar_type()), x.size(0), x.size(1),
                                   rstd.const_data_ptr<float>(), y.mutable_data_ptr(),
                                   CurrentStream(x.device())),
        "RmsNormRecompute");
  return y;
}

at::Tensor RmsNormBackward(const at::Tensor& x, const NormWeight& weight, const at::Tensor& rstd,
                           const at::Tensor& dy, const at::Tensor& residual) {
  CheckOneDevice({x, weight.w, rstd, dy});
  if (residual.defined()) CheckOneDevice({x, residual});
  at::Tensor dx = at::empty_like(x);
  // The residual is added in the same pass: as an operator of its own it would read dx again and
  // write it a second time.
  Check(kNormKernels.rms_backward(x.const_data_ptr(), weight.w.const_data_ptr(), weight.kind,
                                  rstd.const_data_ptr<float>(), dy.const_data_ptr(),
                                  residual.defined() ? residual.const_data_ptr() : nullptr,
                                  TypeOf(x.scalar_type()), x.size(0), x.size(1),
                                  dx.mutable_data_ptr(), CurrentStream(x.device())),
        "RmsNormBackward");
  return dx;
}

void AddRmsNormWeightGrad(const at::Tensor& x, const at::Tensor& rstd, const at::Tensor& dy,
                          const at::Tensor& w_grad) {
  CheckOneDevice({x, rstd, dy, w_grad});
  // [⌈T / 64⌉, D] float32. It is given back when this function returns, before the kernels have
  // run: the allocator hands it only to work queued later on the same stream.
  const at::Tensor partial =
      at::empty({CeilDiv(x.size(0), kWeightGradRows), x.size(1)}, x.options().dtype(at::kFloat));
  Check(kNormKernels.add_rms_weight_grad(
            x.const_data_ptr(), rstd.const_data_ptr<float>(), dy.const_data_ptr(),
            TypeOf(x.scalar_type()), x.size(0), x.size(1), partial.mutable_data_ptr<float>(),
            w_grad.mutable_data_ptr(), TypeOf(w_grad.scalar_type()), CurrentStream(x.device())),
        "AddRmsNormWeightGrad");
}

}  // namespace ftd::engine::cuda
