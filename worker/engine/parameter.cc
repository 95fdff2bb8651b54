#include "worker/engine/parameter.h"

#include <ATen/ops/mm.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>

namespace ftd::engine {
namespace {

constexpr int64_t kRowsAtATime = 8192;

}  // namespace

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
    return;
  }
  // A vocabulary's product at once would be a tensor of hundreds of megabytes.
  for (int64_t begin = 0; begin < grad.size(0); begin += kRowsAtATime) {
    const int64_t rows = std::min(kRowsAtATime, grad.size(0) - begin);
    grad.narrow(0, begin, rows).add_(at::mm(a.narrow(1, begin, rows).t(), b), scale);
  }
}

}  // namespace ftd::engine
