#include "worker/engine/parameter.h"

#include <ATen/ops/mm.h>
#include <ATen/ops/zeros_like.h>

namespace ftd::engine {

void Parameter::MakeTrainable(bool weight_decay, at::ScalarType dtype) {
  master = value.to(dtype);  // the same tensor when it is of that dtype already
  grad = at::zeros_like(master);
  exp_avg = at::zeros_like(master);
  exp_avg_sq = at::zeros_like(master);
  decays = weight_decay;
}

void AccumulateProduct(const at::Tensor& grad, const at::Tensor& a, const at::Tensor& b,
                       double scale) {
  if (a.scalar_type() == at::kFloat) {
    grad.addmm_(a.t(), b, 1.0, scale);
  } else {
    grad.add_(at::mm(a.t(), b), scale);
  }
}

}  // namespace ftd::engine
